package plural_test

import (
	"testing"

	"soci-index-builder/internal/text/plural"
)

func TestCount(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{plural.Count(0, "layer"), "0 layers"},
		{plural.Count(1, "layer"), "1 layer"},
		{plural.Count(2, "layer"), "2 layers"},
		{plural.Count(1, "more message is", "more messages are"), "1 more message is"},
		{plural.Count(3, "more message is", "more messages are"), "3 more messages are"},
		{plural.Word(1, "was", "were"), "was"},
		{plural.Word(5, "problem"), "problems"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
