package main

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/awstest/stacktest"
)

// deployWorld has the project's own template deployed, with all its
// resources. These commands go with it:
//
//	deploy NAME [KEY=VALUE...]  deploy it with these parameters
//	drift ID VALUE PATH...      change a property of a resource by hand; the
//	                            VALUE - takes it away
//	waiting N                   put events that failed into the failure queue
//	metric NAME AGE VALUE       have CloudWatch know a value
type deployWorld struct {
	t   *testing.T
	aws *awsWorld
	d   *stacktest.Deployment
}

func (w *deployWorld) deploy(_ *testscript.TestScript, _ bool, args []string) {
	parameters := map[string]string{}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		parameters[key] = value
	}
	w.d = stacktest.Deploy(w.t, w.aws.server, args[0], parameters, w.aws.ecr)
	w.aws.ecr.ExcludePullTime(w.d.Resources["GeneratorPullTimeExclusion"].At("PrincipalArn").(string),
		w.d.Resources["StepsPullTimeExclusion"].At("PrincipalArn").(string))
	w.aws.ecr.Repository("team/app", awstest.Repository{})
	w.aws.ecr.Repository("team/tool", awstest.Repository{})
}

func (w *deployWorld) drift(_ *testscript.TestScript, _ bool, args []string) {
	w.d.Lock()
	defer w.d.Unlock()
	var value any
	if args[1] != "-" {
		value = args[1]
	}
	w.d.Resources[args[0]].Set(value, args[2:]...)
}

func (w *deployWorld) waiting(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	w.d.Lock()
	defer w.d.Unlock()
	w.d.Waiting = n
}

func (w *deployWorld) metric(ts *testscript.TestScript, _ bool, args []string) {
	age, err := time.ParseDuration(args[1])
	ts.Check(err)
	value, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	w.d.Lock()
	defer w.d.Unlock()
	w.d.Metrics[args[0]] = append(w.d.Metrics[args[0]], stacktest.Point{At: time.Now().Add(-age), Value: value})
}
