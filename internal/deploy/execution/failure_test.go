package execution_test

import (
	"testing"

	"soci-index-builder/internal/deploy/execution"
)

func TestParseMissing(t *testing.T) {
	const me = "arn:aws:sts::123456789012:assumed-role/deployer/session"
	for _, tt := range []struct {
		name, reason string
		want         execution.Missing // zero: none
	}{
		{"of a handler", `Resource handler returned message: "User: ` + me + ` is not authorized to perform: ` +
			`lambda:CreateFunction on resource: arn:aws:lambda:eu-west-1:123456789012:function:f because no ` +
			`identity-based policy allows the lambda:CreateFunction action (Service: Lambda, Status Code: 403)" (RequestToken: 1)`,
			execution.Missing{me, "lambda:CreateFunction", "arn:aws:lambda:eu-west-1:123456789012:function:f", false,
				"identity-based"}},
		{"without a resource", "API: events:PutRule User: " + me + " is not authorized to perform: events:PutRule",
			execution.Missing{me, "events:PutRule", "", false, ""}},
		{"denied", "User: " + me + " is not authorized to perform: iam:CreateRole on resource: " +
			"arn:aws:iam::123456789012:role/r with an explicit deny in a permissions boundary policy",
			execution.Missing{me, "iam:CreateRole", "arn:aws:iam::123456789012:role/r", true, "permissions boundary"}},
		{"at the end of a sentence", "User: " + me + " is not authorized to perform: sqs:CreateQueue on resource: " +
			"arn:aws:sqs:eu-west-1:123456789012:q.",
			execution.Missing{me, "sqs:CreateQueue", "arn:aws:sqs:eu-west-1:123456789012:q", false, ""}},
		{"something else", "Resource of type 'AWS::Logs::LogGroup' already exists", execution.Missing{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := execution.ParseMissing(tt.reason)
			if (got == nil) != (tt.want == execution.Missing{}) || got != nil && *got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
	got := (&execution.Missing{Action: "events:PutRule"}).Statement()
	if want := `{"Effect":"Allow","Action":"events:PutRule","Resource":"*"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
