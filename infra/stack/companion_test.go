package stack

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"

	"soci-index-builder/internal/deploy/companion"
)

// The companion stack is no construct of the CDK's, so that it can be made
// without Node.js; its properties are held by what the CDK generated of the
// resource's schema.
func TestCompanionProperties(t *testing.T) {
	text, err := companion.Template("s", "FilterFunction")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct{ Properties map[string]any }
	}
	if err := json.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	properties := template.Resources[companion.RepositoryLogicalID("FilterFunction")].Properties
	if len(properties) == 0 {
		t.Fatal("the repository has no properties")
	}
	for _, tt := range []struct {
		of    any
		props any
	}{
		{properties, awsecr.CfnRepositoryProps{}},
		{properties["ImageScanningConfiguration"], awsecr.CfnRepository_ImageScanningConfigurationProperty{}},
		{properties["LifecyclePolicy"], awsecr.CfnRepository_LifecyclePolicyProperty{}},
		{properties["Tags"].([]any)[0], awscdk.CfnTag{}},
	} {
		known := reflect.TypeOf(tt.props)
		for name := range tt.of.(map[string]any) {
			if _, ok := known.FieldByName(name); !ok {
				t.Errorf("%s has no %s", known, name)
			}
		}
	}
}
