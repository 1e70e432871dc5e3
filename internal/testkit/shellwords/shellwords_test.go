package shellwords

import (
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for text, want := range map[string]string{
		`index 'a b' "c" d # e`:           "index|a b|c|d",
		`logs --since 2d | jq .`:          "logs|--since|2d",
		`wait "$IMAGE")`:                  "wait|$IMAGE",
		`status a > b`:                    "status|a",
		`status a >/dev/null 2>&1; do`:    "status|a",
		`load < a > b`:                    "load",
		`load <a`:                         "load",
		`load <(a > b)`:                   "load",
		`disable --name=<its name> b # a`: "disable|--name=<its name>|b",
		`get <a> <b>c >d`:                 "get|<a>|<b>c",
		"index a` and more":               "index|a",
		"a\tb#c && d":                     "a|b#c",
		`x ''`:                            "x|",
		`x --a=">" "'" b`:                 "x|--a=>|'|b",
		`x "" y`:                          "x||y",
		``:                                "",
	} {
		if got := strings.Join(Split(text), "|"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
