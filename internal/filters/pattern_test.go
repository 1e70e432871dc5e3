package filters

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"soci-index-builder/internal/names"
)

var (
	pattern = regexp.MustCompile(Pattern)

	// otherBlank finds the blanks that \s does not mean in Go, or nowhere.
	otherBlank = regexp.MustCompile(`\v|[^\x00-\x7f]`)
)

func TestPattern(t *testing.T) {
	for _, list := range []string{
		"*:*", "a:b", "prod/*:*", "prod/*:*,!*:*-debug", "!a:*", "a:Release-1", "a:V*", "a_b:_x", "a__b:1", "a--b:1",
		"a-*:*", "*/app:*",
		"a.b-c/d:v1.2_3-rc", "a.d:b", "a.dk:b", "a.dkrx:b", "a.dxr/b:c", "a.d.dkr:b", "a/b.dkr:c", "a-dkr:b",
		"a.dk.ecr:b", "a.dkrs.ecr:b",
		"a-dkr.ecr:b", "a/b.dkr.ecr.c:d", "dkr.ecr.a:b", "a.b.dkr.ecr:c", "a.d*r.ecr:b", "docker.io/a:*",
		"public.ecr.aws/a:*", "a:*, b:*", " a:* , b:* ", "a:1,a:2,!a:3", "a:" + strings.Repeat("T", 128),
	} {
		if !pattern.MatchString(list) {
			t.Errorf("%q is refused", list)
		}
	}
	for _, list := range []string{
		"", " ", ",", "a", "a:", ":b", "A:b", "a:b,", ",a:b", "a:b,,c:d", "a:.b", "a:-b", "a:b:c", "a:b c", "!!a:b",
		"! a:b",
		"a//b:c", "a___b:c",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:*", "*.dkr.ecr.*:*", "1.dkr-ecr.eu-west-1.on.aws/a:b",
		"!1.dkr.ecr-fips.us-east-1.amazonaws.com/a:b",
		"a.dkr:b", "a.dkr/ecr:b", "a.dkr_ecr:b", "a.dkr--ecr:b", "a.dkr.ecrx:b", "a.dkr.ec:b", "a.dkr.ecr:b",
		"a.dkr.ecr/b:c",
		"a:b,1*.dkr.ecr.*/a:b", "localhost:5000/app:*", "https://a/b:c",
		"-a:b", "a-:b", "_a:b", "a._b:c", "a:b;c:d", "a:b c:d", "a:?", "a:größe", "a:" + strings.Repeat("T", 129),
		"a:b\x00",
	} {
		if pattern.MatchString(list) {
			t.Errorf("%q is accepted", list)
		}
	}
}

// agree holds Pattern against Parse.
func agree(t *testing.T, list string) (accepted bool) {
	t.Helper()
	f, err := Parse(list)
	matched := pattern.MatchString(list)
	switch {
	case err == nil && !matched:
		if otherBlank.MatchString(list) {
			return true
		}
		t.Errorf("%q is a list of filters, but does not match", list)
	case err != nil && matched:
		for _, text := range strings.Split(list, ",") {
			repository, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(text), "!"), ":")
			if len(repository) > names.MaxRepository {
				return false
			}
		}
		if !errors.Is(err, ErrOnlyExclusions) {
			t.Errorf("%q matches, but: %v", list, err)
		}
	case err == nil:
		for _, one := range f.list {
			if !pattern.MatchString(one.text) {
				t.Errorf("filter %q of %q does not match by itself", one.text, list)
			}
		}
	}
	return err == nil
}

// Lists of all kinds: made by the grammar, then spoiled.
func TestPatternAgreesWithParse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of string) string { return of[random.IntN(len(of)):][:1] }
	word := func(letters string, most int) string {
		var b strings.Builder
		for range 1 + random.IntN(most) {
			b.WriteString(pick(letters))
		}
		return b.String()
	}
	one := func() string {
		text := word("az09*", 3)
		if random.IntN(10) == 0 {
			for _, next := range []string{"dkr", "ecr"} {
				if text += []string{".", "/", "_", "-", "--"}[max(random.IntN(9)-4, 0)] + next; random.IntN(5) == 0 {
					text = text[:len(text)-random.IntN(3)] + word("dkrec", 2)
				}
			}
		}
		for range random.IntN(4) {
			text += []string{".", "/", "_", "__", "-", "--", "---"}[random.IntN(7)] + word("bx5*", 2)
		}
		if random.IntN(4) == 0 {
			text = "!" + text
		}
		if random.IntN(200) == 0 {
			text = strings.Repeat("r", 250+random.IntN(10)) + text
		}
		tag := pick("AZaz09_*") + word("AZaz09._*-", 5)
		if random.IntN(100) == 0 {
			tag += strings.Repeat("t", 115+random.IntN(10))
		}
		return text + ":" + tag
	}
	accepted, refused := 0, 0
	for range 20_000 {
		list := one()
		for range random.IntN(4) {
			list += []string{",", ", ", " ,", "\t,\n"}[random.IntN(4)] + one()
		}
		for range random.IntN(3) { // spoil it
			at := random.IntN(len(list))
			switch random.IntN(3) {
			case 0:
				list = list[:at] + list[at+1:]
			case 1:
				list = list[:at] + pick("aA0*!:,./_- ?@\"\\\n") + list[at:]
			case 2:
				list = list[:at] + pick("aA0*!:,./_- ") + list[at+1:]
			}
			if list == "" {
				break
			}
		}
		if agree(t, list) {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 2000 || refused < 2000 {
		t.Errorf("%d lists are good, %d are not: the corpus is lopsided", accepted, refused)
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("prod/*:*,!*:*-debug")
	f.Add(" a_b:_X ,c--d:*\n")
	f.Add("a:b,")
	f.Fuzz(func(t *testing.T, list string) { agree(t, list) })
}
