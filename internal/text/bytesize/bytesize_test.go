package bytesize

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]int64{
		"0":                   0,
		"1":                   1,
		"4194304":             4 << 20,
		"4194304B":            4 << 20,
		"1KiB":                1 << 10,
		"10MiB":               10 << 20,
		"10 MiB":              10 << 20,
		"10mib":               10 << 20,
		"2GiB":                2 << 30,
		"3TiB":                3 << 40,
		"1.5KiB":              1536,
		"0.5GiB":              512 << 20,
		"9223372036854775807": 1<<63 - 1,
	} {
		t.Run(in, func(t *testing.T) {
			got, err := Parse(in)
			if err != nil || got != want {
				t.Fatalf("%d, %v; want %d", got, err, want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", "MiB", "ten", "-1", "+1", "1e3", "0x10", "1_000", "Inf", "NaN", ".", "1.2.3",
		"10MB", "10M", "10kb", "10Mb", "1 0", "1.5", "1.5B", "1.0001KiB", "10MiBs", " 10MiB",
		"9223372036854775808", "8388608TiB", "8388607.5TiB", "99999999999999999999MiB",
	} {
		t.Run(in, func(t *testing.T) {
			if got, err := Parse(in); !errors.Is(err, ErrInvalid) {
				t.Fatalf("%d, %v; want ErrInvalid", got, err)
			}
		})
	}
}

func TestParseNegative(t *testing.T) {
	for _, in := range []string{"-1", "-4MiB", "-0.5 GiB"} {
		if _, err := Parse(in); err == nil || !strings.Contains(err.Error(), in+`": negative; a size is `) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, row := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"},
		{10 << 20, "10.0 MiB"}, {3 << 30, "3.0 GiB"}, {5 << 40, "5.0 TiB"},
	} {
		if got := Format(row.n); got != row.want {
			t.Errorf("%d: %q, want %q", row.n, got, row.want)
		}
	}
}
