package table

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func sample() Section {
	a := &Table{Title: "One", Columns: []string{"who", "CPU s", "ratio"}, Notes: []string{"a note"}}
	a.Add("ours", "1.00", "5.00")
	a.Add("the others|x", "12.5", None)
	return Section{"one", []*Table{a, {Title: "Two", Notes: []string{"only notes"}}}}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := sample().Text(&b); err != nil {
		t.Fatal(err)
	}
	const want = `
One
  who           CPU s  ratio
  ours           1.00   5.00
  the others|x   12.5      –
  a note

Two
  only notes
`
	if b.String() != want {
		t.Errorf("the text is\n%s", b.String())
	}
}

const markdown = `**One**

| who | CPU s | ratio |
|---|---:|---:|
| ours | 1.00 | 5.00 |
| the others\|x | 12.5 | – |

- a note

**Two**

- only notes
`

func TestMarkdown(t *testing.T) {
	if got := sample().Markdown(); got != markdown {
		t.Errorf("the Markdown is\n%s", got)
	}
}

func TestAddRefuses(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a row with too many cells is taken")
		}
	}()
	(&Table{Columns: []string{"one"}}).Add("1", "2")
}

func TestRenew(t *testing.T) {
	const begin, end = "<!-- bench:one:begin -->\n", "<!-- bench:one:end -->\n"
	for _, row := range []struct {
		name, in, want string
		err            error
	}{
		{"empty", "a\n" + begin + end + "b\n", "a\n" + begin + markdown + end + "b\n", nil},
		{"old", begin + "old\n" + end, begin + markdown + end, nil},
		{"another section stays", begin + end + "<!-- bench:two:begin -->\nx\n<!-- bench:two:end -->\n",
			begin + markdown + end + "<!-- bench:two:begin -->\nx\n<!-- bench:two:end -->\n", nil},
		{"none", "a\n", "", ErrMarkers},
		{"no end", begin, "", ErrMarkers},
		{"twice", begin + end + begin + end, "", ErrMarkers},
		{"end first", end + begin, "", ErrMarkers},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Renew([]byte(row.in), []Section{sample()})
			if string(got) != row.want || !errors.Is(err, row.err) {
				t.Errorf("%q, %v", got, err)
			}
			if err == nil {
				if again, err := Renew(got, []Section{sample()}); err != nil || string(again) != string(got) {
					t.Errorf("renewed again: %q, %v", again, err)
				}
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{MB(0), "0.0"}, {MB(12_345), "0.01"}, {MB(1_260_000), "1.3"}, {MB(12_600_000), "13"},
		{MB(2_349_000_000), "2,349"},
		{Seconds(1234 * time.Microsecond), "0.001"}, {Seconds(2910 * time.Millisecond), "2.91"},
		{Seconds(53600 * time.Millisecond), "53.6"},
		{Seconds(100 * time.Second), "100"},
		{Rate(645_000_000, 2910*time.Millisecond), "222"}, {Rate(1, 0), None},
		{Ratio(6*time.Second, 2*time.Second), "3.00"}, {Ratio(0, 2), None}, {Ratio(2, 0), None},
		{Count(999), "999"}, {Count(int64(1_000_000)), "1,000,000"},
	} {
		if row.got != row.want {
			t.Errorf("%s, not %s", row.got, row.want)
		}
	}
}
