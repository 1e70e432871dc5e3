package doctor

import (
	"context"
	"fmt"
	"strings"

	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded/version"
)

func (x *examination) stackStatus(context.Context) ([]Finding, error) {
	status := x.stack.Status
	f := Finding{Check: CheckStackStatus, Severity: OK, Found: "status " + status}
	events := "aws cloudformation describe-stack-events --stack-name " + x.stack.Name + x.region()
	switch {
	case strings.HasSuffix(status, "_FAILED"):
		f.Severity, f.Found = Problem, "the last update failed and the stack stands in between: status "+status
		f.Hint = "see why, then update or roll back: " + events
	case strings.HasPrefix(status, "UPDATE_ROLLBACK_"), strings.HasPrefix(status, "IMPORT_ROLLBACK_"):
		f.Severity, f.Found = Warning, "the last update failed, and the stack is as it was before: status "+status
		f.Hint = "see why: " + events
	case strings.HasSuffix(status, "_IN_PROGRESS"):
		f.Severity, f.Found = Warning, "the stack is being updated, so that what follows may be out of date: status "+
			status
		f.Hint = "wait: aws cloudformation wait stack-update-complete --stack-name " + x.stack.Name + x.region()
	}
	return []Finding{f}, nil
}

func (x *examination) stackVersion(context.Context) ([]Finding, error) {
	of := x.stack.Outputs[deployed.OutVersion]
	f := Finding{Check: CheckStackVersion, Severity: OK, Found: "version " + of}
	if of != version.Version {
		f.Severity = Warning
		f.Found = fmt.Sprintf("the stack is of version %s, this program of version %s", orNone(of), version.Version)
		f.Hint = "update the stack (docs/deploy.md), or use the program of its version"
	}
	return []Finding{f}, nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
