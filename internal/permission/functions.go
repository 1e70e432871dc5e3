package permission

import "slices"

// Target is what a role may use an action on.
type Target string

// The targets.
const (
	// Everything: the action knows no resource.
	Everything Target = "*"
	// Repositories: those that the stack's filters name.
	Repositories Target = "repositories"
	// OwnRepositories are those that the functions' own images are in.
	OwnRepositories Target = "own repositories"
	// FailureQueue is the stack's queue of events that failed for good.
	FailureQueue Target = "failure queue"
	// EventBus is the one on which SOCI indexes are announced, if any.
	EventBus Target = "event bus"
	// Generator is the generator function.
	Generator Target = "generator"
	// Steps is the function that does the steps of the state machine.
	Steps Target = "steps"
	// StateMachine is the one that works on large images.
	StateMachine Target = "state machine"
	// Executions are those of the state machine.
	Executions Target = "executions"
	// SigningProfiles are those of AWS Signer with which ECR signs what is pushed,
	// if the stack has any.
	SigningProfiles Target = "signing profiles"
	// Network: network interfaces, for functions in private networks. The actions
	// are on everything: some of them know no resource.
	Network Target = "network"
	// LogGroup is the function's own one, all of its log streams.
	LogGroup Target = "log group"
)

// Statement is what the statement of a policy is called (its Sid) that grants
// the actions on the target.
func (t Target) Statement() string {
	switch t {
	case Everything:
		return "RegistryToken"
	case Repositories:
		return "Repositories"
	case OwnRepositories:
		return "OwnRepositories"
	case FailureQueue:
		return "FailureQueue"
	case EventBus:
		return "EventBus"
	case Generator:
		return "Generator"
	case Steps:
		return "Steps"
	case StateMachine:
		return "StateMachine"
	case Executions:
		return "Executions"
	case SigningProfiles:
		return "SigningProfiles"
	case Network:
		return "Network"
	case LogGroup:
		return "Log"
	}
	panic("internal error: no statement for the target " + string(t))
}

// Need is one action of a role.
type Need struct {
	Action string
	On     Target
	Why    string
}

var (
	logStream = Need{"logs:CreateLogStream", LogGroup, "Lambda writes the function's log under the function's role"}
	logEvents = Need{"logs:PutLogEvents", LogGroup, "the same"}
	queue     = Need{"sqs:SendMessage", FailureQueue,
		"events that failed for good, sent by the function itself and by Lambda as its on-failure destination"}
)

// Functions lists what the role of each function may do, by the names under
// which they are built. Nothing else may be in the stack's policies, and
// nothing here that the function does not use.
var Functions = map[string][]Need{
	"filter": append([]Need{
		{"lambda:InvokeFunction", Generator, "passing on the events of the images to index"},
		queue, logStream, logEvents,
	}, network...),
	"indexgen": append([]Need{
		{"states:StartExecution", StateMachine, "handing over large images"},
		{"states:DescribeExecution", Executions, "finding out whether one works on the same event"},
	}, builder...),
	"steps":    builder,
	"reponame": {logStream, logEvents},
}

// network is what Lambda needs to connect a function to subnets, which it does
// under the function's role. The function's code cannot use it.
var network = []Need{
	{"ec2:CreateNetworkInterface", Network, "Lambda connects the function to the subnets under the function's role"},
	{"ec2:DescribeNetworkInterfaces", Network, "the same"},
	{"ec2:DescribeSubnets", Network, "the same"},
	{"ec2:DeleteNetworkInterface", Network, "the same"},
	{"ec2:AssignPrivateIpAddresses", Network, "the same"},
	{"ec2:UnassignPrivateIpAddresses", Network, "the same"},
}

// ByServices reports whether only AWS's services use the actions on the target,
// under a function's role, and never its code.
func (t Target) ByServices() bool { return t == LogGroup || t == Network || t == SigningProfiles }

// builder is what a function needs that builds SOCI indexes.
var builder = append([]Need{
	{"ecr:GetAuthorizationToken", Everything, "the token of the registry, which is the whole account's"},
	{"ecr:BatchGetImage", Repositories, "reading manifests and listing referrers"},
	{"ecr:GetDownloadUrlForLayer", Repositories, "reading layers, configs and earlier zTOCs"},
	{"ecr:BatchCheckLayerAvailability", Repositories, "asking whether a blob is there before it is pushed"},
	{"ecr:InitiateLayerUpload", Repositories, "pushing zTOCs"},
	{"ecr:UploadLayerPart", Repositories, "the same"},
	{"ecr:CompleteLayerUpload", Repositories, "the same"},
	{"ecr:PutImage", Repositories, "pushing SOCI indexes and SOCI-enabled images"},
	{"ecr:DescribeImages", Repositories, "finding the SOCI indexes whose zTOCs can be reused"},
	{"events:PutEvents", EventBus, "announcing SOCI indexes"},
	{"signer:SignPayload", SigningProfiles,
		"ECR's managed signing signs what is pushed in the name of the function's role"},
	queue, logStream, logEvents,
}, network...)

// Machine is what the role of the state machine may do.
var Machine = []Need{{"lambda:InvokeFunction", Steps, "doing its steps"}}

// Package returns the name of the package with the code of a function.
func Package(function string) string {
	if function == "steps" {
		return "indexgen"
	}
	return function
}

// Packages returns the names of all packages, in alphabetical order.
func Packages() []string {
	var all []string
	for function := range Functions {
		all = append(all, Package(function))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Withheld are actions that the functions ask for and do not get: they go on
// without them.
var Withheld = map[string][]Need{
	"indexgen": withheld,
	"steps":    withheld,
}

var withheld = []Need{
	{"ecr:BatchDeleteImage", Repositories,
		"only on a registry without the referrers API is an old list of referrers deleted, " +
			"and it is left behind when that fails; ECR has the API, and a builder that deletes nothing can lose " +
			"nothing"},
}

// Denied lists what the role of each function must not do whatever allows it,
// where the functions are container images.
var Denied = map[string][]Need{
	"indexgen": denied,
	"steps":    denied,
}

var denied = []Need{
	{"ecr:InitiateLayerUpload", OwnRepositories, "every upload begins with it; only deploy pushes there"},
	{"ecr:PutImage", OwnRepositories, "Lambda runs the images in them, and no SOCI-enabled image"},
}
