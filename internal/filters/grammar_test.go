package filters

import (
	"strings"
	"testing"

	"soci-index-builder/internal/names"
)

// Filters have the grammar of names, with * among the letters. It is written
// down a second time, for it is part of a parameter's pattern in the template.
func TestGrammarIsThatOfNames(t *testing.T) {
	for of, grammars := range map[string][2]string{
		"repository": {repositoryGrammar, names.Repository},
		"tag":        {tagGrammar, names.Tag},
	} {
		if plain := strings.ReplaceAll(grammars[0], "*", ""); plain != strings.ReplaceAll(grammars[1], "*", "") ||
			plain == grammars[0] {
			t.Errorf("%s: filters have %s, names %s", of, grammars[0], grammars[1])
		}
	}
	for _, host := range []string{"123456789012.dkr.ecr.eu-west-1.amazonaws.com",
		"123456789012.dkr-ecr.eu-west-1.on.aws",
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com"} {
		if _, ok := names.ParseECRHost(host); !ok || !hostPart.MatchString(host+"/app") {
			t.Errorf("%s: of ECR %t, refused in a filter %t", host, ok, hostPart.MatchString(host+"/app"))
		}
	}
}
