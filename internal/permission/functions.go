package permission

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
	"filter": {
		{"lambda:InvokeFunction", Generator, "passing on the events of the images to index"},
		queue, logStream, logEvents,
	},
	"indexgen": {
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
		queue, logStream, logEvents,
	},
	"reponame": {logStream, logEvents},
}

// Withheld are actions that the functions ask for and do not get: they go on
// without them.
var Withheld = map[string][]Need{
	"indexgen": {
		{"ecr:BatchDeleteImage", Repositories,
			"only on a registry without the referrers API is an old list of referrers deleted, " +
				"and it is left behind when that fails; ECR has the API, and a builder that deletes nothing can lose nothing"},
	},
}

// Denied lists what the role of each function must not do whatever allows it,
// where the functions are container images.
var Denied = map[string][]Need{
	"indexgen": {
		{"ecr:InitiateLayerUpload", OwnRepositories, "every upload begins with it; only deploy pushes there"},
		{"ecr:PutImage", OwnRepositories, "Lambda runs the images in them, and no SOCI-enabled image"},
	},
}
