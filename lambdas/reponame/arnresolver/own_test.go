package arnresolver

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"soci-index-builder/internal/function/contract"
)

const image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/"

// Where the functions are images, the answer names the repositories that these
// are in; where they are zip files it is what it was.
func TestOwnRepositories(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	function := arn.ARN{Partition: "aws-cn", Region: "cn-north-1", AccountID: "210987654321"}
	own, err := findOwn(image+"s/b"+digest+","+image+"s/a"+digest+","+image+"s/b"+digest, function)
	want := []string{"arn:aws-cn:ecr:cn-north-1:210987654321:repository/s/a",
		"arn:aws-cn:ecr:cn-north-1:210987654321:repository/s/b"}
	if err != nil || own.names != "s/a,s/b" || !slices.Equal(own.arns, want) {
		t.Errorf("own repositories are %+v, %v", own, err)
	}
	arns := []string{"arn:aws:ecr:eu-west-1:123456789012:repository/*"}
	with, without := answerData(arns, own), answerData(arns, ownRepositories{})
	if len(without) != 2 {
		t.Fatalf("the answer is %v, without images %v", with, without)
	}
	if with["RepositoryArnsDigest"] == without["RepositoryArnsDigest"] || with["OwnNames"] != "s/a,s/b" ||
		!slices.Equal(with["OwnArns"].([]string), want) {
		t.Errorf("the answer is %v, without images %v", with, without)
	}
	for _, code := range []any{"code/1/", nil, 3} {
		if own, err := findOwn(code, function); err != nil || len(own.arns) > 0 {
			t.Errorf("%v has the own repositories %+v, %v", code, own, err)
		}
	}
	if _, err := findOwn("Somewhere/else"+digest, function); !errors.Is(err, errProperty) {
		t.Errorf("the error is %v, want errProperty", err)
	}
}

// The own repositories count in the environment and in the answer.
func TestOwnRepositoriesAreMeasured(t *testing.T) {
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{
		InvokedFunctionArn: "arn:aws:lambda:eu-west-1:123456789012:function:f"})
	name := strings.Repeat("a", 250)
	var uris []string
	for range 3 {
		name = "b" + name
		uris = append(uris, image+name+"@sha256:"+strings.Repeat("0", 64))
	}
	event := cfn.Event{RequestType: cfn.RequestCreate, ResourceProperties: map[string]any{
		contract.PropFilters:           "a:*",
		contract.PropFilterEnvironment: map[string]any{"LOG_LEVEL": strings.Repeat("x", 3300)},
		contract.PropCode:              strings.Join(uris, ","),
	}}
	h := &Handler{}
	if _, _, err := h.repositoryARNs(ctx, event); !errors.Is(err, errTooLong) || errors.Is(err, errTooMany) {
		t.Errorf("the error is %v, want errTooLong", err)
	}
	event.ResourceProperties[contract.PropCode] = uris[0]
	if _, _, err := h.repositoryARNs(ctx, event); err != nil {
		t.Error(err)
	}
}
