package failure

import "testing"

// Each reason and class has words for people, and what is of others has none.
func TestText(t *testing.T) {
	for _, s := range sentinels {
		if s.reason.Text() == "" || s.class.Text() == "" {
			t.Errorf("%s, %s: %q, %q", s.reason, s.class, s.reason.Text(), s.class.Text())
		}
	}
	if Unexpected.Text() == "" || Reason("Sandbox.Timedout").Text() != "" || Class("").Text() != "" {
		t.Errorf("%q, %q", Unexpected.Text(), Reason("Sandbox.Timedout").Text())
	}
}
