// Package settings has what the user of deploy decides: by flags, by a file
// with named environments, or by answers to questions.
//
// Flags beat the file, the file beats what the stack has, and that beats the
// template's default. Start with [Settings].
package settings

import "soci-index-builder/internal/embedded"

// Settings are what one deploy works with. The zero value of a field means
// that it was not given.
type Settings struct {
	Stack   string // name of the stack
	Region  string // AWS region
	Profile string // profile of the AWS configuration

	Filters    string            // repository and tag filters, as the stack's parameter has them
	Parameters map[string]string // other parameters of the template, by their names

	Package      embedded.Package  // how the code comes to Lambda
	Architecture string            // of the functions, as Go names it
	Bucket       string            // of the user's own, for zip packages
	Repositories map[string]string // of the user's own, for images: URI by the function's logical id

	RoleARN               string            // that CloudFormation works with
	Tags                  map[string]string // of the stacks and their resources
	NotificationARNs      []string          // topics that are notified of the stacks' events
	TerminationProtection *bool
	DisableRollback       bool
	FailOnEmpty           bool     // a deploy without a change is a failure
	Capabilities          []string // acknowledged without a question
	AllowReplacement      bool     // of a queue or a function, without a question
	DeleteFailed          bool     // a stack whose creation failed, without a question
}
