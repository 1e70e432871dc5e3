package main

import (
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/registrytest"
)

// awsWorld is the AWS account of a script, whose environment names it. These
// commands go with it:
//
//	stack NAME [KEY=VALUE...]  deploy a stack of this project with these
//	                           parameters, or outputs; STATUS=... for its status
//	execution NAME FILE        an execution of the state machine runs with this
//	                           input; $DIGEST in it is the environment's
//	awsfail SERVICE OPERATION TIMES STATUS CODE MESSAGE
//	                           have the next requests answered so; "*" is any
//	                           operation, the code PAGE is a web page
//
// ECR has what the script's registry has.
type awsWorld struct {
	server *awstest.Server
	stacks *awstest.CloudFormation
	ecr    *awstest.ECR
	states *awstest.States
}

func newAWSWorld(server *awstest.Server, registry *registrytest.Server) *awsWorld {
	a := &awsWorld{server: server, stacks: awstest.NewCloudFormation(), ecr: awstest.NewECR(registry),
		states: new(awstest.States)}
	server.Handle("states", a.states)
	server.Handle("cloudformation", a.stacks)
	server.Handle("ecr", a.ecr)
	return a
}

func (a *awsWorld) stack(ts *testscript.TestScript, _ bool, args []string) {
	s := awstest.NewStack(args[0])
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		_, parameter := s.Parameters[key]
		_, output := s.Outputs[key]
		switch {
		case ok && key == "STATUS":
			s.Status = value
		case ok && parameter:
			s.Parameters[key] = value
		case ok && output:
			s.Outputs[key] = value
		default:
			ts.Fatalf("a stack has no %s", arg)
		}
	}
	a.stacks.Add(s)
}

func (a *awsWorld) execution(ts *testscript.TestScript, _ bool, args []string) {
	a.states.Run(args[0], strings.ReplaceAll(ts.ReadFile(args[1]), "$DIGEST", ts.Getenv("DIGEST")))
}

func (a *awsWorld) ended(_ *testscript.TestScript, _ bool, args []string) {
	a.states.Close(args[0])
}

func (a *awsWorld) fail(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[2])
	ts.Check(err)
	status, err := strconv.Atoi(args[3])
	ts.Check(err)
	a.server.Fail(args[0], args[1], times, &awstest.Error{Status: status, Code: args[4], Message: args[5],
		Page: args[4] == "PAGE"})
}
