package stack

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/jsii-runtime-go"

	"soci-index-builder/internal/logquery"
)

// addQueries saves the documented queries, in a folder of the stack's name.
func addQueries(s *builder) {
	for _, q := range logquery.All() {
		awslogs.NewCfnQueryDefinition(s.stack, jsii.String("Query"+camel(q.Name)), &awslogs.CfnQueryDefinitionProps{
			Name:          s.name("/" + q.Name),
			QueryString:   jsii.String(inFew(q.Sample())),
			LogGroupNames: s.logGroups(q.Groups),
		})
	}
}

// inFew writes a query in fewer bytes of JSON, where every " has a backslash.
func inFew(query string) string {
	if strings.ContainsAny(query, `'\`) {
		return query
	}
	return strings.NewReplacer(`", "`, "','", `"`, "'", "\n| ", "\n|").Replace(query)
}

// logGroups returns the names of log groups.
func (s *builder) logGroups(groups []logquery.Group) *[]any {
	byGroup := map[logquery.Group]function{
		logquery.Filter: s.filter, logquery.Generator: s.generator, logquery.Repositories: s.reponame,
	}
	var names []any
	for _, g := range groups {
		names = append(names, byGroup[g].logGroup.Ref())
		if g == logquery.Generator {
			names = append(names, s.steps.logGroup.Ref())
		}
	}
	return &names
}

// camel makes a logical id of a name with hyphens.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
