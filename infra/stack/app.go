package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

// NewApp makes a CDK app that writes its cloud assembly into a folder. An
// empty folder is the one that the CDK command line asks for. The app needs
// Node.js, as the program node; Close ends what runs in it. From the first app
// on, os.Stderr leaves out what jsii has to say of itself.
//
// Construct libraries panic where others return an error.
func NewApp(folder string) awscdk.App {
	silence.Do(filterStderr)
	props := &awscdk.AppProps{
		AnalyticsReporting: jsii.Bool(false),
		StackTraces:        jsii.Bool(false),
		TreeMetadata:       jsii.Bool(false),
		Context: &map[string]any{
			// A template that CloudFormation would refuse fails here, not at
			// the deployment.
			"@aws-cdk/core:validateAgainstDefaultRules": true,
		},
	}
	if folder != "" {
		props.Outdir = jsii.String(folder)
	}
	return awscdk.NewApp(props)
}

// Context returns value, or when that is empty what the CDK command line was
// given for key (-c key=value).
func Context(app awscdk.App, key, value string) string {
	if value != "" {
		return value
	}
	given, _ := app.Node().TryGetContext(jsii.String(key)).(string)
	return given
}
