package execution

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"soci-index-builder/internal/deploy/target"
)

// Event is something that happened to the stack or to a resource of it.
type Event struct {
	ID                          string
	LogicalID, PhysicalID, Type string
	Status, Reason              string
	Time                        time.Time
	OfStack                     bool // the stack itself

	token, operation string
}

func readEvent(in types.StackEvent) Event {
	e := Event{
		ID: aws.ToString(in.EventId), LogicalID: aws.ToString(in.LogicalResourceId),
		PhysicalID: aws.ToString(in.PhysicalResourceId), Type: aws.ToString(in.ResourceType),
		Status: string(in.ResourceStatus), Reason: aws.ToString(in.ResourceStatusReason),
		Time:  aws.ToTime(in.Timestamp),
		token: aws.ToString(in.ClientRequestToken), operation: aws.ToString(in.OperationId),
	}
	e.OfStack = e.Type == "AWS::CloudFormation::Stack" && e.PhysicalID == aws.ToString(in.StackId)
	return e
}

// Failed reports whether it is a failure.
func (e Event) Failed() bool { return strings.HasSuffix(e.Status, "_FAILED") }

// Cancelled reports whether a resource failed only because another one did.
func (e Event) Cancelled() bool {
	return e.Failed() && strings.HasPrefix(e.Reason, "Resource ") && strings.HasSuffix(e.Reason, "cancelled")
}

// Done reports whether nothing more happens to the resource for now.
func (e Event) Done() bool { return !strings.HasSuffix(e.Status, "_IN_PROGRESS") }

// Ends reports whether the operation on the stack ends with it.
func (e Event) Ends() bool { return e.OfStack && target.Settled(e.Status) && e.Status != inReview }

// inReview is the state of a stack that has only a change set. It begins no
// operation, and ends none.
const inReview = string(types.StackStatusReviewInProgress)

// Words say what happens, for people: "being created", "failed".
func (e Event) Words() string {
	switch s := types.ResourceStatus(e.Status); {
	case e.Cancelled():
		return "cancelled"
	case e.Failed():
		return "FAILED"
	case e.OfStack && strings.Contains(e.Status, "ROLLBACK") && e.Done():
		return "rolled back"
	case e.OfStack && strings.Contains(e.Status, "ROLLBACK"):
		return "rolling back"
	case e.OfStack && strings.Contains(e.Status, "CLEANUP"):
		return "cleaning up"
	case s == types.ResourceStatusDeleteSkipped:
		return "kept"
	}
	verb, _, _ := strings.Cut(e.Status, "_")
	words, ok := map[string][2]string{
		"CREATE": {"creating", "created"}, "UPDATE": {"updating", "updated"}, "DELETE": {"deleting", "deleted"},
		"IMPORT": {"importing", "imported"}, "ROLLBACK": {"rolling back", "rolled back"},
	}[verb]
	switch {
	case !ok:
		return strings.ToLower(strings.ReplaceAll(e.Status, "_", " "))
	case e.Done():
		return words[1]
	}
	return words[0]
}

// Name says what the resource is, for people: "generator function". It comes
// from the logical id, in which words begin with capitals.
func (e Event) Name() string {
	if e.OfStack {
		return "stack " + e.LogicalID
	}
	id, rest := e.LogicalID, ""
	// A companion stack has a hash in the logical ids of its repositories.
	if stem, ok := strings.CutSuffix(id, "Repo"); ok && e.Type == "AWS::ECR::Repository" && len(stem) > hashLength {
		id, rest = stem[:len(stem)-hashLength], " repository"
	}
	var b strings.Builder
	for i, r := range id {
		if upper := r >= 'A' && r <= 'Z'; upper && i > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String()) + rest
}

// hashLength is how many digits the hash in such a logical id has.
const hashLength = 8
