package deploy_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/rights"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/testkit/awstest"
	"soci-index-builder/internal/testkit/expect"
)

// lose has the next answer to an operation of CloudFormation lost, after it has
// been done. It returns whether that has happened.
func (w *world) lose(operation string) *atomic.Bool {
	lost := &atomic.Bool{}
	w.server.Handle("cloudformation", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			w.t.Error(err)
		}
		form := r.PostForm
		r.Body = http.NoBody
		recorder := &answer{header: http.Header{}}
		w.stacks.ServeHTTP(recorder, withForm(r, form))
		if form.Get("Action") == operation && !strings.HasPrefix(form.Get("ChangeSetName"), rights.ChangeSet) &&
			lost.CompareAndSwap(false, true) {
			panic(http.ErrAbortHandler)
		}
		recorder.copy(rw)
	}))
	return lost
}

// begun counts how often a stack has come into a status.
func begun(s *screen, status string) int {
	n := 0
	for _, e := range s.events {
		if e.OfStack && e.Status == status {
			n++
		}
	}
	return n
}

// A lost answer is no second change set, and no second creation or update.
func TestLostAnswers(t *testing.T) {
	for _, operation := range []string{"CreateChangeSet", "ExecuteChangeSet"} {
		for _, create := range []bool{false, true} {
			w := newWorld(t)
			kind := "CREATE"
			if !create {
				w.created()
				kind = "UPDATE"
			}
			lost := w.lose(operation)
			d, screen := w.deploy(another, nil)
			if err := d.Run(t.Context()); err != nil {
				t.Fatalf("%s %s: %v", operation, kind, err)
			}
			if !lost.Load() || w.status() != kind+"_COMPLETE" || !screen.examined {
				t.Errorf("%s %s: lost %t, the stack is %s", operation, kind, lost.Load(), w.status())
			}
			if n := begun(screen, kind+"_IN_PROGRESS"); n != 1 {
				t.Errorf("%s: %d of %s", operation, n, kind)
			}
		}
	}
}

// A lost answer to the deletion of a stack is one deletion: of a creation that
// failed, and of destroy.
func TestLostDeletion(t *testing.T) {
	w := newWorld(t)
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	d, _ := w.deploy(another, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) {
		t.Fatal(err)
	}
	lost := w.lose("DeleteStack")
	d, screen := w.deploy(settings.Settings{DeleteFailed: true}, nil)
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := begun(screen, "DELETE_IN_PROGRESS"); !lost.Load() || n != 1 || w.status() != "CREATE_COMPLETE" {
		t.Errorf("lost %t, %d deletions, the stack is %s", lost.Load(), n, w.status())
	}
	lost = w.lose("DeleteStack")
	l, err := w.destroy(deploy.DestroyOptions{})
	expect.Equal(t, expect.Facts{
		{"error", err, nil},
		{"lost", lost.Load(), true},
		{"deletions", begun(l.screen, "DELETE_IN_PROGRESS"), 1},
		{"status", w.status(), "absent"},
	}, "destroy")
}

// A lost answer to the continuation of a rollback is one continuation.
func TestLostContinuation(t *testing.T) {
	w := newWorld(t)
	w.created()
	w.stacks.FailResource("prod", "FilterFunction", "", "no")
	w.stacks.FailResource("prod", "GeneratorRepositoryPolicy", "rollback", "no")
	d, _ := w.deploy(another, nil)
	if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) || w.status() != "UPDATE_ROLLBACK_FAILED" {
		t.Fatalf("%v, the stack is %s", err, w.status())
	}
	lost := w.lose("ContinueUpdateRollback")
	d, screen := w.deploy(another, nil)
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := begun(screen, "UPDATE_ROLLBACK_IN_PROGRESS"); !lost.Load() || n != 1 || w.status() != "UPDATE_COMPLETE" {
		t.Errorf("lost %t, %d continuations, the stack is %s", lost.Load(), n, w.status())
	}
}

// A log group that an earlier creation has left fails the next one: the command
// that deletes it is said, and then all is well. That of another stack is in use:
// the stack is named.
func TestLogGroupIsLeft(t *testing.T) {
	const group = "the log group /aws/lambda/prod-SociIndexGeneratorLambda "
	for reason, want := range map[string]string{
		"Resource of type 'AWS::Logs::LogGroup' with identifier '{\"/properties/LogGroupName\":" +
			"\"/aws/lambda/prod-SociIndexGeneratorLambda\"}' already exists.": group +
			"was there before: if nothing needs it, delete it, with its lines, and deploy again: " +
			"aws logs delete-log-group --log-group-name /aws/lambda/prod-SociIndexGeneratorLambda --region " +
			awstest.Region,
		"/aws/lambda/prod-SociIndexGeneratorLambda already exists in stack " +
			"arn:aws:cloudformation:eu-west-1:1:stack/x": group +
			"belongs to the stack arn:aws:cloudformation:eu-west-1:1:stack/x: deploy under another name, " +
			"or, if nothing needs that stack, delete it first",
	} {
		w := newWorld(t)
		w.stacks.FailResource("prod", "GeneratorLogGroup", "", reason)
		d, screen := w.deploy(another, nil)
		if err := d.Run(t.Context()); !errors.Is(err, deploy.ErrFailed) || !strings.Contains(err.Error(), reason) {
			t.Fatalf("the error is %v", err)
		}
		if !screen.has(want) || strings.Contains(reason, "in stack") && screen.has("delete-log-group") {
			t.Errorf("said %q", screen.said)
		}
		d, _ = w.deploy(settings.Settings{DeleteFailed: true}, nil)
		if err := d.Run(t.Context()); err != nil || w.status() != "CREATE_COMPLETE" {
			t.Errorf("%v, the stack is %s", err, w.status())
		}
	}
}
