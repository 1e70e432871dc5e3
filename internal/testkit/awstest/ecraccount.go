package awstest

import (
	"fmt"
	"time"
)

func (e *ECR) getAuthorizationToken(ofRegistry) (any, error) {
	return map[string]any{"authorizationData": []map[string]any{{
		"authorizationToken": e.Token(),
		"expiresAt":          epoch(time.Now().Add(12 * time.Hour)),
		"proxyEndpoint":      "https://" + e.Host(),
	}}}, nil
}

func (e *ECR) describeRegistry(ofRegistry) (any, error) {
	return map[string]any{"registryId": Account, "replicationConfiguration": map[string]any{"rules": []any{}}}, nil
}

type ofRepository struct {
	ofRegistry
	RepositoryName string `json:"repositoryName"`
}

func (e *ECR) getLifecyclePolicy(in ofRepository) (any, error) {
	r, err := e.repository(in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if r.LifecyclePolicy == "" {
		return nil, e.none("LifecyclePolicyNotFoundException", "Lifecycle policy", in.RepositoryName)
	}
	return map[string]any{"registryId": Account, "repositoryName": in.RepositoryName,
		"lifecyclePolicyText": r.LifecyclePolicy}, nil
}

func (e *ECR) getRepositoryPolicy(in ofRepository) (any, error) {
	r, err := e.repository(in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if r.Policy == "" {
		return nil, e.none("RepositoryPolicyNotFoundException", "Repository policy", in.RepositoryName)
	}
	return map[string]any{"registryId": Account, "repositoryName": in.RepositoryName, "policyText": r.Policy}, nil
}

func (e *ECR) none(code, what, repository string) error {
	return &Error{Status: 400, Code: code, Message: fmt.Sprintf(
		"%s does not exist for the repository with name '%s' in the registry with id '%s'", what, repository, Account)}
}

type getAccountSettingInput struct {
	ofRegistry
	Name string `json:"name"`
}

func (e *ECR) getAccountSetting(in getAccountSettingInput) (any, error) {
	value, ok := e.settings[in.Name]
	if !ok {
		return nil, invalidParameter("Invalid parameter at 'name': %s", in.Name)
	}
	return map[string]any{"name": in.Name, "value": value}, nil
}

type listExclusionsInput struct {
	ofRegistry
	MaxResults int    `json:"maxResults"`
	NextToken  string `json:"nextToken"`
}

func (e *ECR) listPullTimeUpdateExclusions(in listExclusionsInput) (any, error) {
	list, next, err := page(e.exclusions, "exclusions", in.MaxResults, 100, 1000, in.NextToken)
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []string{}
	}
	return withToken(map[string]any{"pullTimeUpdateExclusions": list}, next), nil
}

// SigningRule is one of the registry's signing configuration.
type SigningRule struct {
	Profile      string   // ARN
	Repositories []string // wildcards; none is every repository
}

// Sign gives the registry a signing configuration.
func (e *ECR) Sign(rules ...SigningRule) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signing = rules
}

func (e *ECR) getSigningConfiguration(ofRegistry) (any, error) {
	if e.signing == nil {
		return nil, &Error{Status: 400, Code: "SigningConfigurationNotFoundException",
			Message: "The specified signing configuration was not found"}
	}
	var rules []map[string]any
	for _, r := range e.signing {
		rule := map[string]any{"signingProfileArn": r.Profile}
		var filters []map[string]string
		for _, f := range r.Repositories {
			filters = append(filters, map[string]string{"filter": f, "filterType": "WILDCARD_MATCH"})
		}
		if filters != nil {
			rule["repositoryFilters"] = filters
		}
		rules = append(rules, rule)
	}
	return map[string]any{"registryId": Account, "signingConfiguration": map[string]any{"rules": rules}}, nil
}
