package stack

import (
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

// NewApp makes a CDK app that writes its cloud assembly into a folder. An
// empty folder is the one that the CDK command line asks for. The app needs
// Node.js, as the program node; Close ends what runs in it.
//
// Construct libraries panic where others return an error.
func NewApp(folder string) awscdk.App {
	silence()
	props := &awscdk.AppProps{
		AnalyticsReporting: jsii.Bool(false),
		StackTraces:        jsii.Bool(false),
		TreeMetadata:       jsii.Bool(false),
		Context: &map[string]any{
			// What CloudFormation would refuse fails here, not at the
			// deployment.
			"@aws-cdk/core:validateAgainstDefaultRules": true,
		},
	}
	if folder != "" {
		props.Outdir = jsii.String(folder)
	}
	return awscdk.NewApp(props)
}

// Close ends the process of Node.js behind every app of this process.
func Close() {
	// It is waited for twice, and whoever comes second says so.
	stderr := os.Stderr
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
		defer func() {
			os.Stderr = stderr
			null.Close()
		}()
	}
	jsii.Close()
}

// silence keeps remarks on the version of Node.js off the screen. A version
// that is known not to work is still named.
func silence() {
	const prefix = "JSII_SILENCE_WARNING_"
	majors := make([]string, 100)
	for i := range majors {
		majors[i] = strconv.Itoa(i)
	}
	for name, value := range map[string]string{
		"END_OF_LIFE_NODE_VERSION": strings.Join(majors, ","),
		"DEPRECATED_NODE_VERSION":  "true",
		"UNTESTED_NODE_VERSION":    "true",
	} {
		if _, set := os.LookupEnv(prefix + name); !set {
			os.Setenv(prefix+name, value)
		}
	}
}
