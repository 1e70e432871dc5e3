package loginsights

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/creack/pty"

	"soci-index-builder/internal/logquery"
)

var columns = []logquery.Column{
	{Name: "@timestamp", Kind: logquery.Time}, {Name: "lastTime", Kind: logquery.Time},
	{Name: "MiB", Kind: logquery.Number}, {Name: "reason", Kind: logquery.Text}, {Name: "error", Kind: logquery.Text},
}

func TestWriteTable(t *testing.T) {
	tests := []struct {
		name string
		rows []Row
		want string
	}{
		{"columns that are empty are left out", []Row{{"MiB": "1.5", "reason": ""}, {"MiB": "20"}}, "MiB\n1.5\n20\n"},
		{"aligned, no blanks at the end",
			[]Row{{"MiB": "1", "reason": "zstd", "error": "e"}, {"MiB": "123", "reason": "corrupt"}, {"reason": "x"}},
			"MiB  reason                          error\n1    compressed with zstd            e\n" +
				"123  a layer or manifest is damaged\n     x\n"},
		{"times", []Row{{"@timestamp": "2026-01-02 12:00:01.678", "lastTime": "1767355200999"},
			{"@timestamp": "2026-01-02 12:00:02.000", "lastTime": "1.767355200999E12"}},
			"timestamp             lastTime\n2026-01-02T12:00:01Z  2026-01-02T12:00:00Z\n2026-01-02T12:00:02Z  " +
				"2026-01-02T12:00:00Z\n"},
		{"a time as it is", []Row{{"lastTime": "2026-01-02 12:00:01.000"}, {"lastTime": "soon"}},
			"lastTime\n2026-01-02T12:00:01Z\nsoon\n"},
		{"numbers", []Row{{"MiB": "0.123456"}, {"MiB": "1.5E3"}, {"MiB": "NaN"}, {"MiB": "1000000000000"}},
			"MiB\n0.12\n1500\nNaN\n1000000000000\n"},
		{"one line, and nothing that steers the terminal", []Row{{"error": "a\nb\tc\x1b[31md\x00e\u202ef\xffg ü"}},
			"error\n" + `a b c\u001b[31md\u0000e\u202ef\ufffdg ü` + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if err := WriteTable(&b, columns, tt.rows, false); err != nil {
				t.Fatal(err)
			}
			if b.String() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", &b, tt.want)
			}
		})
	}
}

// On a terminal that is too narrow each row is a block; on a wider one there are
// columns, the last of them broken into lines.
func TestWriteTableTerminal(t *testing.T) {
	rows := []Row{{"@timestamp": "2026-01-02 12:00:01.678", "lastTime": "1767355200999", "MiB": "1",
		"reason": "corrupt",
		"error":  "layer sha256:2222: corrupt gzip stream"}, {"MiB": "2", "reason": "zstd"}}
	for size, want := range map[uint16]string{
		60: "2026-01-02T12:00:01Z\n  lastTime  2026-01-02T12:00:00Z\n  MiB       1\n" +
			"  reason    a layer or manifest is damaged\n" +
			"  error     layer sha256:2222: corrupt gzip stream\n-\n  MiB     2\n  reason  compressed with zstd\n",
		116: "timestamp             lastTime              MiB  reason                          error\n" +
			"2026-01-02T12:00:01Z  2026-01-02T12:00:00Z  1    a layer or manifest is damaged  layer sha256:2222: " +
			"corrupt gzip\n" + strings.Repeat(" ", 81) + "stream\n" +
			"                                            2    compressed with zstd\n",
	} {
		screen, tty, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := pty.Setsize(tty, &pty.Winsize{Cols: size, Rows: 24}); err != nil {
			t.Fatal(err)
		}
		t.Setenv("NO_COLOR", "1")
		written := make(chan error, 1)
		go func() { written <- errors.Join(WriteTable(tty, columns, rows, false), tty.Close()) }()
		b, _ := io.ReadAll(screen) // ends with EIO on Linux
		if err := errors.Join(<-written, screen.Close()); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(string(b), "\r\n", "\n"); got != want {
			t.Errorf("in %d columns:\n%s\nwant\n%s", size, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	row := Row{"@timestamp": "2026-01-02 12:00:01.678", "lastTime": "1767355200999", "MiB": "1.5E3", "reason": "1e3",
		"other": "not declared"}
	b, err := json.Marshal(Values(columns, row))
	if want := `{"@timestamp":"2026-01-02T12:00:01.678Z","MiB":1500,"lastTime":"2026-01-02T12:00:00.999Z","reason":"1e3"}`; err != nil || string(b) != want {
		t.Errorf("Values = %s, %v, want %s", b, err, want)
	}
}

// A block of a row that does not begin with a time says what it begins with.
func TestBlocksOfCounts(t *testing.T) {
	var b strings.Builder
	if err := writeBlocks(&b, []string{"times", "reason"}, [][]string{{"2", "corrupt"}, {"1", ""}}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "times: 2\n  reason  corrupt\ntimes: 1\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
