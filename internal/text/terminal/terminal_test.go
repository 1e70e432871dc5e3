package terminal

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
)

func openTerminal(t *testing.T, columns, rows uint16) *os.File {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close(); _ = tty.Close() })
	if err := pty.Setsize(tty, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	return tty
}

func TestOf(t *testing.T) {
	tty := openTerminal(t, 100, 30)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	for _, tt := range []struct {
		name          string
		w             io.Writer
		noColor, term string
		want          Screen
	}{
		{"terminal", tty, "", "xterm", Screen{100, 30, true, true}},
		{"NO_COLOR", tty, "1", "xterm", Screen{100, 30, false, true}},
		{"dumb", tty, "", "dumb", Screen{100, 30, false, false}},
		{"pipe", write, "", "xterm", Screen{}},
		{"no file", io.Discard, "", "xterm", Screen{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tt.noColor)
			t.Setenv("TERM", tt.term)
			s := Of(tt.w)
			if s != tt.want || s.Live() != tt.want.moves {
				t.Errorf("got %+v, want %+v", s, tt.want)
			}
			painted, marked := s.Paint(Bad, "no"), s.Mark(Good)
			if s.Colours != (painted == "\x1b[31mno\x1b[0m") || s.Colours != (marked == "\x1b[32m✓\x1b[0m ") {
				t.Errorf("painted %q, marked %q", painted, marked)
			}
			if !s.Colours && (painted != "no" || marked != "") {
				t.Errorf("painted %q, marked %q", painted, marked)
			}
		})
	}
}

func table(columns int, indent string, rows ...[]string) string {
	var b bytes.Buffer
	t := NewTable(&b, indent, false)
	t.screen.Width = columns
	t.Optional("TOOL")
	t.Head(rows[0]...)
	for _, row := range rows[1:] {
		t.Row(row...)
	}
	if err := t.Flush(); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.String()
}

func TestTable(t *testing.T) {
	long := strings.Repeat("word ", 20) + "end"
	images := [][]string{{"IMAGE", "V1", "WHY"}, {"team/app:1.0", "yes", long}, {"a", "no", ""}}
	for _, tt := range []struct {
		name    string
		columns int
		indent  string
		rows    [][]string
		want    string
	}{
		{"no terminal", 0, "", images, "" +
			"IMAGE         V1   WHY\n" +
			"team/app:1.0  yes  " + long + "\n" +
			"a             no\n"},
		{"prose in its column", 60, "  ", images, "" +
			"  IMAGE         V1   WHY\n" +
			"  team/app:1.0  yes  word word word word word word word word\n" +
			"                     word word word word word word word word\n" +
			"                     word word word word end\n" +
			"  a             no\n"},
		{"prose below", 40, "", images, "" +
			"IMAGE         V1\n" +
			"team/app:1.0  yes\n" +
			"    word word word word word word word\n" +
			"    word word word word word word word\n" +
			"    word word word word word word end\n" +
			"a             no\n"},
		{"a short row", 40, "", [][]string{{"LAYER", "SIZE", "SECONDS"}, {"sha256:0123456789ab", "10 KiB", "0.1"},
			{"sha256:ab0123456789", "skipped: for a reason that is long"}}, "" +
			"LAYER                SIZE    SECONDS\n" +
			"sha256:0123456789ab  10 KiB  0.1\n" +
			"sha256:ab0123456789\n" +
			"    skipped: for a reason that is long\n"},
		{"a word that is too long for its column is below", 50, "", [][]string{{"CHECK", "FOUND"},
			{"queue", "is there"}, {"log-group", "/aws/lambda/a-function-with-a-long-name-indeed is lost"}}, "" +
			"CHECK      FOUND\n" +
			"queue      is there\n" +
			"log-group\n" +
			"    /aws/lambda/a-function-with-a-long-name-indeed\n" +
			"    is lost\n"},
		{"a command has a line of its own, a row without other cells none", 40, "", [][]string{{"CHECK", "FOUND"},
			{"queue", "is there, see why: soci-index-builder redrive"}, {"", "-> aws sqs purge-queue --queue-url x"}},
			"" +
				"CHECK  FOUND\n" +
				"queue  is there, see why:\n" +
				"       soci-index-builder redrive\n" +
				"    -> aws sqs purge-queue --queue-url x\n"},
		{"names shortened", 30, "", [][]string{{"IMAGE", "SIZE"},
			{"123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1", "10 MiB"}}, "" +
			"IMAGE                   SIZE\n" +
			"1234567…naws.com/app:1  10 MiB\n"},
		{"names above", 50, "  ", [][]string{{"REPOSITORY", "TAG", "DIGEST", "SIZE"},
			{"a/repository/with/a/long/name", "1.0", "sha256:0123456789ab", "10 MiB"},
			{"a/repository/with/a/long/name", "2.0", "sha256:ab0123456789", "20 MiB"},
			{"another", "1.0", "sha256:ab0123456789", "30 MiB"}}, "" +
			"    TAG  DIGEST               SIZE\n" +
			"  a/repository/with/a/long/name\n" +
			"    1.0  sha256:0123456789ab  10 MiB\n" +
			"    2.0  sha256:ab0123456789  20 MiB\n" +
			"  another\n" +
			"    1.0  sha256:ab0123456789  30 MiB\n"},
		{"a column left out", 28, "", [][]string{{"REPOSITORY", "TAG", "TOOL", "SIZE"},
			{"a/repository", "1.0", "soci-index-builder/1", "10 MiB"}}, "" +
			"  TAG  SIZE\n" +
			"a/repository\n" +
			"  1.0  10 MiB\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := table(tt.columns, tt.indent, tt.rows...)
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			for line := range strings.Lines(got) {
				if n := Width(strings.TrimSuffix(line, "\n")); tt.columns > 0 && n > tt.columns {
					t.Errorf("a line takes %d columns: %q", n, line)
				}
			}
		})
	}
}

func TestShorten(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"team/app:1.0", 12, "team/app:1.0"},
		{"team/app:1.0", 10, "tea…pp:1.0"},
		{"日本語日本語", 7, "日…本語"},
		{"\x1b[31mteam/app:1.0\x1b[0m", 5, "\x1b[31mteam/app:1.0\x1b[0m"},
	} {
		if got := Shorten(tt.text, tt.width); got != tt.want {
			t.Errorf("%q in %d columns is %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

func TestWrap(t *testing.T) {
	got := Wrap("one  two three-and-four\nfive", 9)
	if want := []string{"one  two", "three-and-four", "five"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Commands to be pasted are not broken; texts about the programs are.
func TestWrapCommands(t *testing.T) {
	for text, want := range map[string][]string{
		"make it with  aws s3 mb s3://code": {"make it with", "aws s3 mb s3://code"},
		"see: aws logs tail /a/b; then go on": {"see:", "aws logs tail /a/b",
			"then go on"},
		"-> soci-index-builder doctor --stack prod": {"-> soci-index-builder doctor --stack prod"},
		"soci-index-builder status [flags]":         {"soci-index-builder", "status", "[flags]"}, // how it is used
		"that soci-index-builder did not push":      {"that", "soci-index-builder", "did not push"},
		"soci-index-builder deploy: no such stack":  {"soci-index-builder", "deploy: no", "such stack"},
		"no: soci-index-builder and me; see: aws s3 ls s3://a/b": {"no:", "soci-index-builder", "and me; see:",
			"aws s3 ls s3://a/b"},
		"of: soci-index-builder, or none": {"of:", "soci-index-builder,", "or none"},
	} {
		if got := Wrap(text, 12); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFill(t *testing.T) {
	for _, tt := range []struct {
		width      int
		line, want string
	}{
		{0, "  one two three", "  one two three"},
		{15, "  one  two three", "  one  two\n      three"},
		{12, "  one  two three four", "  one  two\n      three\n      four"},
		{16, "one  two", "one  two"},
		{20, "✓ registry.example/team/app:1.0: indexed", "✓ registry.example/team/app:1.0:\n    indexed"},
		{24, "  if there are any: to list them: aws ecr list-images --all; to delete them, with --yes", "" +
			"  if there are any: to\n      list them:\n      aws ecr list-images --all\n      to delete them,\n" +
			"      with --yes"},
		{20, "    -> aws events enable-rule --name x", "    -> aws events enable-rule --name x"},
		{24, "get new ones (for example: aws sso login), then try again",
			"get new ones (for\n    example: aws sso\n    login), then try\n    again"},
	} {
		if got := (Screen{Width: tt.width}).Fill(tt.line); got != tt.want {
			t.Errorf("%q in %d columns is %q, want %q", tt.line, tt.width, got, tt.want)
		}
	}
}

func TestFillLines(t *testing.T) {
	got := (Screen{Width: 12}).FillLines("one two three\n\n  four\na question that goes on? ")
	if want := "one two\n    three\n\n  four\na question\n    that\n    goes on? "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The widest columns are shortened, and none so far that nothing can be read.
func TestShortenColumns(t *testing.T) {
	for _, tt := range []struct {
		widths []int
		room   int
		want   []int
	}{
		{[]int{20, 30}, 50, []int{20, 30}},
		{[]int{20, 30}, 45, []int{20, 25}},
		{[]int{20, 30, 5}, 35, []int{15, 15, 5}},
		{[]int{20, 30}, 10, []int{leastCell, leastCell}},
		{[]int{5, 30}, 10, []int{5, leastCell}},
		{nil, 10, nil},
	} {
		got := slices.Clone(tt.widths)
		if shorten(got, tt.room); !slices.Equal(got, tt.want) {
			t.Errorf("%v in %d: %v, want %v", tt.widths, tt.room, got, tt.want)
		}
	}
}
