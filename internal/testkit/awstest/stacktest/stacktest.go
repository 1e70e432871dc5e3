// Package stacktest deploys the project's own template into an AWS of package
// awstest, for tests of whatever looks at a deployed stack: each resource is
// there, and its service describes it as the template has it, until the test
// changes it.
//
// Start with [Deploy].
package stacktest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/doctor/cfntemplate"
	"soci-index-builder/internal/testkit/awstest"
)

// Resource is one of a deployed stack. A test may change Properties.
type Resource struct {
	Type, Physical string
	Properties     map[string]any
	Deleted        bool // by hand: its service does not know it
}

// Point is a value of a metric.
type Point struct {
	At    time.Time
	Value float64
}

// Deployment is a stack that runs. Between two requests a test may change
// everything in it, holding the lock.
type Deployment struct {
	sync.Mutex

	Stack     *awstest.Stack
	Resources map[string]*Resource // by logical id
	ECR       *awstest.ECR

	// Network is that of the functions, if the parameters have subnets: by default
	// with a NAT gateway and without endpoints.
	Network *awstest.EC2

	// Functions adds to what Lambda says of the configuration of a function,
	// by logical id: State, LastUpdateStatus.
	Functions map[string]map[string]any

	// Alarms adds to what CloudWatch says of an alarm, by logical id.
	Alarms map[string]map[string]any

	// Waiting messages of the failure queue.
	Waiting int

	// Metrics by name: ImagesIndexed, ApproximateAgeOfOldestMessage.
	Metrics map[string][]Point

	code *awstest.LambdaCode // of an Account; may be nil
}

// Deploy puts a stack with these parameters, and the template's defaults for
// the rest, into a server; with an image of the filter function among them it is
// the template for images, else that for zip files. CloudFormation, CloudWatch,
// CloudWatch Logs, EC2, ECR, EventBridge, IAM, Lambda and SQS answer for it. The
// account's images are those of ecr.
func Deploy(t testing.TB, server *awstest.Server, name string, parameters map[string]string,
	ecr *awstest.ECR) *Deployment {
	t.Helper()
	body := Template(t)
	if _, images := parameters[deployed.ParamFilterImage]; images {
		body = ImageTemplate(t)
	}
	template, err := cfntemplate.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]string{deployed.ParamCodeBucket: "code", deployed.ParamCodeKeyPrefix: "soci/1/"}
	maps.Copy(given, parameters)
	d := &Deployment{
		Stack: &awstest.Stack{Name: name, Status: "CREATE_COMPLETE", Parameters: map[string]string{},
			Outputs: map[string]string{}, Tags: map[string]string{}, Template: string(body)},
		Resources: map[string]*Resource{}, ECR: ecr,
		Functions: map[string]map[string]any{}, Alarms: map[string]map[string]any{}, Metrics: map[string][]Point{},
	}
	for key, p := range template.Parameters {
		value, ok := given[key]
		if !ok {
			value = awstest.ScalarText(p.Default)
		}
		d.Stack.Parameters[key] = value
	}
	for key := range parameters {
		if _, ok := template.Parameters[key]; !ok {
			t.Fatalf("the template has no parameter %s", key)
		}
	}
	d.fill(t)
	server.Handle("cloudformation", awstest.NewCloudFormation(d.Stack))
	d.serve(server)
	return d
}

// list returns the parts of a parameter with commas.
func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

// fill makes resources, outputs and the network of the stack's template and parameters.
func (d *Deployment) fill(t testing.TB) {
	t.Helper()
	template, err := cfntemplate.Parse([]byte(d.Stack.Template))
	if err != nil {
		t.Fatal(err)
	}
	values := cfntemplate.Values{
		Parameters: d.Stack.Parameters, StackName: d.Stack.Name, StackID: d.Stack.ID(),
		Region: awstest.Region, Account: awstest.Account, Partition: "aws",
		Attribute: func(id, attribute string) (any, bool) {
			return d.Stack.Attribute(d.Stack.Parameters, template.Resources[id].Type, id, attribute)
		},
	}
	resources, err := template.Resolve(values)
	if err != nil {
		t.Fatal(err)
	}
	d.Stack.Resources = nil
	for _, id := range slices.Sorted(maps.Keys(resources)) {
		r := resources[id]
		physical := d.Stack.Physical(r.Type, id)
		if name, ok := r.Properties["LogGroupName"]; ok && name != physical {
			t.Fatalf("log group %s is called %v in the template, %s here", id, name, physical)
		}
		d.Resources[id] = &Resource{Type: r.Type, Physical: physical, Properties: r.Properties}
		d.Stack.Resources = append(d.Stack.Resources,
			awstest.StackResource{LogicalID: id, PhysicalID: physical, Type: r.Type})
	}
	outputs, err := template.ResolveOutputs(values)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range outputs {
		if value == any(cfntemplate.Unknown) {
			t.Fatalf("output %s of the template cannot be worked out", key)
		}
		d.Stack.Outputs[key] = awstest.ScalarText(value)
	}
	d.Network = awstest.NewEC2(list(d.Stack.Parameters[deployed.ParamSubnets]),
		list(d.Stack.Parameters[deployed.ParamSecurityGroups]))
}

// Template is the project's plain template, for zip files.
func Template(t testing.TB) []byte {
	t.Helper()
	return read(t, "soci-index-builder.template.json")
}

// ImageTemplate is the project's plain template for container images.
func ImageTemplate(t testing.TB) []byte {
	t.Helper()
	return read(t, "soci-index-builder-image.template.json")
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(folder)
		if up == folder {
			t.Fatal("the test does not run within the module")
		}
		folder = up
	}
	body, err := os.ReadFile(filepath.Join(folder, "templates", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// find returns the resource of a type by its physical id.
func (d *Deployment) find(kind, physical string) (id string, r *Resource) {
	for id, r := range d.Resources {
		if r.Type == kind && r.Physical == physical && !r.Deleted {
			return id, r
		}
	}
	return "", nil
}

// At returns what stands at the end of a path of properties.
func (r *Resource) At(path ...string) any {
	var v any = r.Properties
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// Set puts a value at the end of a path of properties that are there; nil
// takes it away.
func (r *Resource) Set(value any, path ...string) {
	last := len(path) - 1
	m := r.At(path[:last]...).(map[string]any)
	if value == nil {
		delete(m, path[last])
		return
	}
	m[path[last]] = value
}
