package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"soci-index-builder/internal/doctor/cfntemplate"
)

// functions looks whether each function can run, and runs as the stack's
// parameters say.
func (x *examination) functions(ctx context.Context) ([]Finding, error) {
	var (
		state, configuration, environment, logging []Finding
		errs                                       []error
	)
	all := x.of(typeFunction)
	for _, r := range all {
		out, err := x.lambda.GetFunctionConfiguration(ctx,
			&lambda.GetFunctionConfigurationInput{FunctionName: &r.physical})
		if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
			state = append(state, x.deleted(CheckFunction, Problem, r.physical))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the configuration of function %s: %w", r.physical, err))
			continue
		}
		state = append(state, functionState(r, out)...)
		configuration = append(configuration, functionConfiguration(r, out)...)
		if r.want.text("Code", "ImageUri") != "" {
			some, err := x.functionImage(ctx, r)
			configuration = append(configuration, some...)
			if err != nil {
				errs = append(errs, err)
			}
		}
		environment = append(environment, functionEnvironment(r, out)...)
		logging = append(logging, x.functionLogging(r, out)...)
	}
	if len(errs) == 0 {
		state = wellOr(state, CheckFunction, "%d functions are active", len(all))
		configuration = wellOr(configuration, CheckConfiguration,
			"code, role, memory and timeout are the stack's")
		environment = wellOr(environment, CheckEnvironment, "the variables are those of the stack's parameters")
		logging = wellOr(logging, CheckLogging, "JSON to the stack's log groups, metrics included")
	}
	return slices.Concat(state, configuration, environment, logging), errors.Join(errs...)
}

func functionState(r resource, out *lambda.GetFunctionConfigurationOutput) []Finding {
	var found []Finding
	add := func(s Severity, what, hint string) {
		found = append(found, Finding{CheckFunction, s, r.physical, what, hint})
	}
	update := "update the stack with the code of its version (docs/deploy.md)"
	switch out.State {
	case types.StateFailed:
		add(Problem, fmt.Sprintf("cannot run: state Failed, %s (%s)", aws.ToString(out.StateReason),
			out.StateReasonCode),
			update)
	case types.StateInactive:
		add(Warning, "has not run for weeks, and sleeps: state Inactive",
			"nothing: the next event wakes it, fails, and is tried again; a deploy wakes what it needs")
	case types.StatePending:
		add(Warning, "is being made: state Pending", "wait a minute")
	}
	switch out.LastUpdateStatus {
	case types.LastUpdateStatusFailed:
		add(Problem, fmt.Sprintf("its last update failed: %s (%s)", aws.ToString(out.LastUpdateStatusReason),
			out.LastUpdateStatusReasonCode), update)
	case types.LastUpdateStatusInProgress:
		add(Warning, "is being updated", "wait a minute")
	}
	if e := out.Environment; e != nil && e.Error != nil {
		add(Problem, fmt.Sprintf("its variables cannot be read: %s, %s", aws.ToString(e.Error.ErrorCode),
			aws.ToString(e.Error.Message)),
			"allow the function's role to use the KMS key of its variables")
	}
	return found
}

func functionConfiguration(r resource, out *lambda.GetFunctionConfigurationOutput) []Finding {
	var found []Finding
	compare := func(s Severity, what, is, want string) {
		if want != "" && is != want {
			found = append(found, Finding{CheckConfiguration, s, r.physical,
				fmt.Sprintf("%s is %s, the stack's is %s", what, orNone(is), want), byHand})
		}
	}
	number := func(n *int32) string {
		if n == nil {
			return ""
		}
		return fmt.Sprint(*n)
	}
	compare(Problem, "package type", string(cmp.Or(out.PackageType, types.PackageTypeZip)),
		cmp.Or(r.want.text("PackageType"), string(types.PackageTypeZip)))
	compare(Problem, "runtime", string(out.Runtime), r.want.text("Runtime"))
	compare(Problem, "handler", aws.ToString(out.Handler), r.want.text("Handler"))
	compare(Problem, "role", aws.ToString(out.Role), r.want.text("Role"))
	compare(Warning, "memory in MB", number(out.MemorySize), r.want.text("MemorySize"))
	compare(Warning, "timeout in seconds", number(out.Timeout), r.want.text("Timeout"))
	return found
}

// functionImage compares the image that a function runs with the stack's.
func (x *examination) functionImage(ctx context.Context, r resource) ([]Finding, error) {
	out, err := x.lambda.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &r.physical})
	if err != nil {
		return nil, fmt.Errorf("reading which image function %s runs: %w", r.physical, err)
	}
	want := r.want.text("Code", "ImageUri")
	if c := out.Code; c == nil || aws.ToString(c.ImageUri) == want || aws.ToString(c.ResolvedImageUri) == want {
		return nil, nil
	}
	is := cmp.Or(aws.ToString(out.Code.ResolvedImageUri), aws.ToString(out.Code.ImageUri))
	return []Finding{{CheckConfiguration, Warning, r.physical,
		fmt.Sprintf("runs the image %s, the stack's is %s", is, want),
		"aws lambda update-function-code --function-name " + r.physical + " --image-uri " + want + x.region()}}, nil
}

func functionEnvironment(r resource, out *lambda.GetFunctionConfigurationOutput) []Finding {
	if out.Environment != nil && out.Environment.Error != nil {
		return nil // said already
	}
	live := map[string]string{}
	if out.Environment != nil {
		live = out.Environment.Variables
	}
	want, _ := r.want.at("Environment", "Variables").(map[string]any)
	var found []Finding
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if want[name] == any(cfntemplate.Unknown) {
			continue
		}
		v := scalar(want[name])
		switch is, ok := live[name]; {
		case !ok:
			found = append(found, Finding{CheckEnvironment, Problem, r.physical,
				fmt.Sprintf("variable %s is not set, the stack's is %q", name, v), byHand})
		case is != v:
			found = append(found, Finding{CheckEnvironment, Problem, r.physical,
				fmt.Sprintf("variable %s is %q, the stack's is %q", name, is, v), byHand})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		if _, ok := want[name]; !ok {
			found = append(found, Finding{CheckEnvironment, Warning, r.physical,
				fmt.Sprintf("variable %s is set, which the stack does not have", name), byHand})
		}
	}
	return found
}

// functionLogging checks where the function's lines go: metrics are
// lines without a level, which Lambda drops when its own level is above INFO.
func (x *examination) functionLogging(r resource, out *lambda.GetFunctionConfigurationOutput) []Finding {
	l := out.LoggingConfig
	if l == nil {
		l = &types.LoggingConfig{}
	}
	set := "aws lambda update-function-configuration --function-name " + r.physical + " --logging-config "
	var found []Finding
	switch l.ApplicationLogLevel {
	case types.ApplicationLogLevelWarn, types.ApplicationLogLevelError, types.ApplicationLogLevelFatal:
		found = append(found, Finding{CheckLogging, Problem, r.physical,
			fmt.Sprintf("Lambda's application log level is %s: metrics are dropped, and with them the alarms",
				l.ApplicationLogLevel),
			set + "LogFormat=JSON,ApplicationLogLevel=INFO" + x.region()})
	}
	if want := r.want.text("LoggingConfig", "LogFormat"); want != "" && string(l.LogFormat) != want {
		found = append(found, Finding{CheckLogging, Warning, r.physical,
			fmt.Sprintf("log format is %s, the stack's is %s", orNone(string(l.LogFormat)), want),
			set + "LogFormat=" + want + x.region()})
	}
	if want := r.want.text("LoggingConfig", "LogGroup"); want != "" && aws.ToString(l.LogGroup) != want {
		found = append(found, Finding{CheckLogging, Problem, r.physical,
			fmt.Sprintf("logs to %s, which its role may not, and not to the stack's %s",
				orNone(aws.ToString(l.LogGroup)), want),
			set + "LogGroup=" + want + x.region()})
	}
	return found
}

// concurrency looks whether functions are held back.
func (x *examination) concurrency(ctx context.Context) ([]Finding, error) {
	var (
		found []Finding
		errs  []error
	)
	for _, r := range x.of(typeFunction) {
		out, err := x.lambda.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &r.physical})
		if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
			continue // said already
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the concurrency of function %s: %w", r.physical, err))
			continue
		}
		want, reserved := r.want.number("ReservedConcurrentExecutions")
		is := out.ReservedConcurrentExecutions
		hint := "aws lambda delete-function-concurrency --function-name " + r.physical + x.region()
		if reserved {
			hint = fmt.Sprintf(
				"aws lambda put-function-concurrency --function-name %s --reserved-concurrent-executions %d%s",
				r.physical, want, x.region())
		}
		switch {
		case is != nil && *is == 0:
			found = append(found, Finding{CheckConcurrency, Problem, r.physical,
				"has a reserved concurrency of 0: it never runs", hint})
		case reserved && (is == nil || int(*is) != want):
			found = append(found, Finding{CheckConcurrency, Warning, r.physical,
				fmt.Sprintf("has a reserved concurrency of %s, the stack's is %d", optional(is), want), hint})
		case !reserved && is != nil:
			found = append(found, Finding{CheckConcurrency, Warning, r.physical,
				fmt.Sprintf("has a reserved concurrency of %d, the stack has none", *is), hint})
		}
	}
	if len(errs) == 0 {
		found = wellOr(found, CheckConcurrency, "the reserved concurrency is the stack's")
	}
	return found, errors.Join(errs...)
}

// async checks where the events go that a function cannot handle.
func (x *examination) async(ctx context.Context) ([]Finding, error) {
	var (
		found []Finding
		errs  []error
	)
	for _, r := range x.of(typeAsync) {
		function, queue := r.want.text("FunctionName"), r.want.text("DestinationConfig", "OnFailure", "Destination")
		retries, _ := r.want.number("MaximumRetryAttempts")
		age, _ := r.want.number("MaximumEventAgeInSeconds")
		hint := fmt.Sprintf(
			"aws lambda put-function-event-invoke-config --function-name %s --maximum-retry-attempts %d "+
				"--maximum-event-age-in-seconds %d --destination-config '{\"OnFailure\":{\"Destination\":\"%s\"}}'%s",
			function, retries, age, queue, x.region())
		add := func(s Severity, format string, v ...any) {
			found = append(found, Finding{CheckAsync, s, function, fmt.Sprintf(format, v...), hint})
		}
		in := &lambda.GetFunctionEventInvokeConfigInput{FunctionName: &function}
		if q := r.want.text("Qualifier"); q != "" {
			in.Qualifier = &q
		}
		out, err := x.lambda.GetFunctionEventInvokeConfig(ctx, in)
		if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
			add(Problem, "events that fail are lost: it has no configuration for asynchronous invocations")
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading how function %s is invoked asynchronously: %w", function, err))
			continue
		}
		destination := ""
		if c := out.DestinationConfig; c != nil && c.OnFailure != nil {
			destination = aws.ToString(c.OnFailure.Destination)
		}
		if destination != queue {
			add(Problem, "events that fail go to %s, not to the failure queue", orNone(strings.TrimSpace(destination)))
		}
		if is := aws.ToInt32(out.MaximumRetryAttempts); int(is) != retries {
			add(Warning, "a failed event is tried again %d times, the stack's number is %d", is, retries)
		}
		if is := aws.ToInt32(out.MaximumEventAgeInSeconds); int(is) != age {
			add(Warning, "an event is kept for %d seconds, the stack's number is %d", is, age)
		}
	}
	if len(errs) == 0 {
		found = wellOr(found, CheckAsync, "events that fail are tried again, then go to the failure queue")
	}
	return found, errors.Join(errs...)
}
