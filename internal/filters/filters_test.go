package filters

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("a", 257)
	tests := []struct {
		name, list string
		want       []error // one for each malformed filter, in order
	}{
		{"nothing", "", []error{ErrEmptyList}},
		{"blanks only", " \t\n", []error{ErrEmptyList}},
		{"one exclusion", "!*:*", []error{ErrOnlyExclusions}},
		{"exclusions only", "!a:*, !b:*", []error{ErrOnlyExclusions}},
		{"comma only", ",", []error{ErrEmpty, ErrEmpty}},
		{"comma at the end", "a:b,", []error{ErrEmpty}},
		{"comma at the beginning", ",a:b", []error{ErrEmpty}},
		{"no colon", "nginx", []error{ErrNoTagPart}},
		{"exclamation mark alone", "a:b,!", []error{ErrNoTagPart}},
		{"no repository", ":latest", []error{ErrRepositoryPart}},
		{"capital letter in the repository", "Nginx:latest", []error{ErrRepositoryPart}},
		{"repository begins with a separator", "/nginx:latest", []error{ErrRepositoryPart}},
		{"repository ends with a separator", "nginx/:latest", []error{ErrRepositoryPart}},
		{"two slashes", "a//b:latest", []error{ErrRepositoryPart}},
		{"two dots", "a..b:latest", []error{ErrRepositoryPart}},
		{"three underscores", "a___b:latest", []error{ErrRepositoryPart}},
		{"mixed separators", "a._b:latest", []error{ErrRepositoryPart}},
		{"slash and hyphen", "a/-b:latest", []error{ErrRepositoryPart}},
		{"blank in the repository", "a b:latest", []error{ErrRepositoryPart}},
		{"question mark", "a?b:latest", []error{ErrRepositoryPart}},
		{"two exclamation marks", "!!a:b", []error{ErrRepositoryPart}},
		{"blank behind the exclamation mark", "! a:b", []error{ErrRepositoryPart}},
		{"repository of 257", long + ":latest", []error{ErrRepositoryPart}},
		{"line break behind the repository", "a\n:latest", []error{ErrRepositoryPart}},
		{"no tag", "nginx:", []error{ErrTagPart}},
		{"tag begins with a dot", "nginx:.1", []error{ErrTagPart}},
		{"tag begins with a hyphen", "nginx:-1", []error{ErrTagPart}},
		{"two colons", "nginx:1:2", []error{ErrTagPart}},
		{"digest", "nginx:sha256:0123", []error{ErrTagPart}},
		{"slash in the tag", "nginx:a/b", []error{ErrTagPart}},
		{"the host of ECR", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:*", []error{ErrHost}},
		{"the host of ECR, with wildcards", "!*.dkr.ecr.*/app:*,*:*", []error{ErrHost}},
		{"the host of ECR, dual-stack and FIPS", "1.dkr-ecr-fips.us-east-1.on.aws/app:*", []error{ErrHost}},
		{"a host with a port", "localhost:5000/app:*", []error{ErrHost}},
		{"a URL", "https://registry.example/app:*", []error{ErrHost}},
		{"tag of 129", "nginx:" + strings.Repeat("a", 129), []error{ErrTagPart}},
		{"not ASCII", "nginx:größe", []error{ErrTagPart}},
		{"each malformed filter is named", "ok:1,Bad:1,ok:2,bad,x:-,",
			[]error{ErrRepositoryPart, ErrNoTagPart, ErrTagPart, ErrEmpty}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse(tt.list)
			if err == nil {
				t.Fatalf("Parse(%q) = %v, want an error", tt.list, f)
			}
			errs := []error{err}
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				errs = joined.Unwrap()
			}
			if len(errs) != len(tt.want) {
				t.Fatalf("Parse(%q) gives %d errors, want %d:\n%v", tt.list, len(errs), len(tt.want), err)
			}
			for i := range errs {
				if !errors.Is(errs[i], tt.want[i]) {
					t.Errorf("error %d is %v, want %v", i, errs[i], tt.want[i])
				}
				if one := new(Error); errors.As(errs[i], &one) &&
					strings.Split(tt.list, ",")[one.Position-1] != one.Filter &&
					strings.TrimSpace(tt.list) == tt.list {
					t.Errorf("error %d names filter %d %q, which is not in the list", i, one.Position, one.Filter)
				}
			}
			if len(f.list) != 0 {
				t.Errorf("Parse(%q) gives filters beside its error: %v", tt.list, f)
			}
		})
	}
}

func TestErrorCutsTheFilter(t *testing.T) {
	_, err := Parse("a:b," + strings.Repeat("x", 100_000))
	if err == nil || len(err.Error()) > 400 {
		t.Errorf("the message has %d characters, want a short one", len(err.Error()))
	}
	if want := `filter 2 "xxx`; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the message is %q, want it to begin with %q", err, want)
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		name, list, repository, tag string
		want                        string // the filter that decides
		ok                          bool
	}{
		{"everything", "*:*", "a/b", "v1", "*:*", true},
		{"everything, no tag", "*:*", "a/b", "", "*:*", true},
		{"literal", "prod/nginx:1.27", "prod/nginx", "1.27", "prod/nginx:1.27", true},
		{"a dot is a dot", "nginx:1.27", "nginx", "1x27", "", false},
		{"anchored in front", "nginx:*", "my-nginx", "1", "", false},
		{"anchored behind", "nginx:*", "nginx-debug", "1", "", false},
		{"anchored in the tag", "nginx:v1", "nginx", "v1.2", "", false},
		{"wildcard takes slashes", "prod/*:*", "prod/team/app", "1", "prod/*:*", true},
		{"wildcard takes nothing", "prod*:*", "prod", "1", "prod*:*", true},
		{"slash of the pattern is needed", "prod/*:*", "prod", "1", "", false},
		{"wildcard in front", "*/app:*", "a/b/app", "1", "*/app:*", true},
		{"several wildcards", "a*b*c:*", "axxbyybzzc", "1", "a*b*c:*", true},
		{"literals must not share characters", "ab*ba:*", "aba", "1", "", false},
		{"literals side by side", "ab*ba:*", "abba", "1", "ab*ba:*", true},
		{"capital letters in the tag", "app:Release-*", "app", "Release-A", "app:Release-*", true},
		{"case counts", "app:Release-*", "app", "release-A", "", false},
		{"no tag, part of the tag given", "app:v*", "app", "", "", false},
		{"no tag, two wildcards", "app:**", "app", "", "", false},
		{"blanks around filters", " a:1 ,\n\tb:2 ", "b", "2", "b:2", true},
		{"the last that matches is named", "*:*,app:*,other:*", "app", "1", "app:*", true},
		{"an exclusion behind", "*:*,!*:*-debug", "app", "1-debug", "!*:*-debug", false},
		{"an exclusion that does not match", "*:*,!*:*-debug", "app", "1", "*:*", true},
		{"an exclusion in front is overruled", "!*:*-debug,*:*", "app", "1-debug", "*:*", true},
		{"chosen again", "*:*,!lambda/*:*,lambda/api:*", "lambda/api", "1", "lambda/api:*", true},
		{"excluded without a tag", "*:*,!lambda/*:*", "lambda/api", "", "!lambda/*:*", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := f.Match(tt.repository, tt.tag)
			if got != tt.want || ok != tt.ok {
				t.Errorf("Match(%q, %q) = %q, %t, want %q, %t", tt.repository, tt.tag, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for _, list := range []string{
		"a:b", "*:*", "**:**", "a*:*a", "*/*:*", "a-*:*", "a--b__c.d_e/f:_x", "0/1:0",
		strings.Repeat("a", 256) + ":" + strings.Repeat("T", 128),
		"a/*-b:_", "!a:b,*:*", "*.internal/*:V1.0_rc-*",
	} {
		f, err := Parse(list)
		if err != nil {
			t.Errorf("Parse(%q): %v", list, err)
		}
		if f.String() != list {
			t.Errorf("Parse(%q).String() = %q", list, f)
		}
	}
}

func TestRepositoryARNs(t *testing.T) {
	tests := []struct {
		name, list string
		want       []string // behind "repository/"
	}{
		{"everything", "*:*", []string{"*"}},
		{"everything beside others", "prod/*:*,*:v1,dev:*", []string{"*"}},
		{"two wildcards are one", "**:*,a***b:*", []string{"*"}},
		{"runs of wildcards", "a**b:*", []string{"a*b"}},
		{"sorted", "b:1,a:1,c:1", []string{"a", "b", "c"}},
		{"duplicates", "a:1,a:2,a:1", []string{"a"}},
		{"covered", "prod/api:1,prod/*:*,prod/web-*:*", []string{"prod/*"}},
		{"covered in a chain", "a*c:*,a*:*,ab*c:*", []string{"a*"}},
		{"only overlapping", "a*:*,*a:*", []string{"*a", "a*"}},
		{"wildcard against literal", "a*b*c:*,a*c:*,axc:*", []string{"a*c"}},
		{"a longer pattern is not wider", "a*b:*,ab:*,a*bb:*", []string{"a*b"}},
		{"exclusions do not count", "*:*,!prod/*:*", []string{"*"}},
		{"exclusions do not cover", "prod/api:*,!prod/*:*", []string{"prod/api"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, w := range tt.want {
				want = append(want, "arn:aws-cn:ecr:cn-north-1:123456789012:repository/"+w)
			}
			if got := f.RepositoryARNs("aws-cn", "cn-north-1", "123456789012"); !slices.Equal(got, want) {
				t.Errorf("RepositoryARNs = %q, want %q", got, want)
			}
		})
	}
}

// A pattern of many wildcards against a name that fails at its very end: a
// matcher that tries every split would not come back.
func TestMatchIsLinear(t *testing.T) {
	f, err := Parse(strings.Repeat("a*", 100) + "b:*")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Match(strings.Repeat("a", 1<<20), "v1"); ok {
		t.Error("a name without b matches a pattern that ends in b")
	}
}

// oracle writes the filter as one anchored regular expression.
func oracle(part string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(part), `\*`, `.*`) + `\z`)
}

func FuzzMatch(f *testing.F) {
	f.Add("*:*", "a/b", "v1")
	f.Add("a*b*:*c", "axbx", "cc")
	f.Add("*:*,!*:*-debug,x*y:V*", "x/y", "V-debug")
	f.Add("a:*", "a", "")
	f.Fuzz(func(t *testing.T, list, repository, tag string) {
		parsed, err := Parse(list)
		if err != nil {
			return
		}
		wantFilter, wantOK := "", false
		for text := range strings.SplitSeq(list, ",") {
			text = strings.TrimSpace(text)
			positive, exclude := strings.CutPrefix(text, "!")
			r, g, _ := strings.Cut(positive, ":")
			if oracle(r).MatchString(repository) && oracle(g).MatchString(tag) && (tag != "" || g == "*") {
				wantFilter, wantOK = text, !exclude
			}
		}
		if got, ok := parsed.Match(repository, tag); got != wantFilter || ok != wantOK {
			t.Errorf("Match(%q, %q) of %q = %q, %t, want %q, %t", repository, tag, list, got, ok, wantFilter, wantOK)
		}
		again, err := Parse(parsed.String())
		if err != nil || again.String() != parsed.String() {
			t.Errorf("Parse(%q) = %q, %v", parsed, again, err)
		}
	})
}

// The ARNs cover every repository that the filters choose.
func FuzzRepositoryARNs(f *testing.F) {
	f.Add("a*:*,ab*:*", "abc")
	f.Add("a*b:*,*:v1", "x/y")
	f.Fuzz(func(t *testing.T, list, repository string) {
		parsed, err := Parse(list)
		if err != nil {
			return
		}
		covered := slices.ContainsFunc(parsed.RepositoryARNs("aws", "eu-west-1", "123456789012"),
			func(arn string) bool {
				return oracle(strings.TrimPrefix(arn, "arn:aws:ecr:eu-west-1:123456789012:repository/")).MatchString(
					repository)
			})
		wanted := slices.ContainsFunc(parsed.list, func(one filter) bool {
			return !one.exclude && oracle(one.repository).MatchString(repository)
		})
		if covered != wanted {
			t.Errorf("the ARNs of %q cover %q: %t, its filters: %t", list, repository, covered, wanted)
		}
	})
}

func ExampleFilters_Match() {
	f, err := Parse("prod/*:*, !*:*-debug")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Match("prod/api", "v1"))
	fmt.Println(f.Match("prod/api", "v1-debug"))
	// Output:
	// prod/*:* true
	// !*:*-debug false
}

func ExampleParse() {
	_, err := Parse("prod/*:*, Web:latest, api")
	fmt.Println(strings.ReplaceAll(err.Error(), ": allowed", ":\nallowed"))
	// Output:
	// filter 2 "Web:latest" has a repository part that no repository can match:
	// allowed are 1 to 256 of a-z, 0-9 and *, separated by one of / . _ __ or by hyphens
	// filter 3 "api" has no tag part:
	// allowed is repository:tag, and repository:* for every tag
}
