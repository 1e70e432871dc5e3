package deploy_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/rights"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
)

// questions is a screen that answers as a function says.
type questions struct {
	*screen
	answer func(question string) bool
}

func (q *questions) Ask(_ context.Context, question string) (bool, error) {
	q.add("? " + question)
	return q.answer(question), nil
}

// firstDeploys runs two deploys, neither of which finds the stack that both
// create. The second has made its change set, and is asked the question, when the
// first makes one too and runs to its end. Then the second gets its answer.
func (w *world) firstDeploys(stack, question string, answer bool, first, second *deploy.Deploy,
	screen *screen) (firstErr, secondErr error) {
	w.t.Helper()
	begun, asked, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	beginning, asking := sync.OnceFunc(func() { close(begun) }), sync.OnceFunc(func() { close(asked) })
	var mu sync.Mutex
	made := 0
	w.server.Handle("cloudformation", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			w.t.Error(err)
		}
		form := r.PostForm
		r.Body = http.NoBody
		if form.Get("Action") == "CreateChangeSet" && form.Get("StackName") == stack &&
			!strings.HasPrefix(form.Get("ChangeSetName"), rights.ChangeSet) {
			mu.Lock()
			made++
			isFirst := made == 1
			mu.Unlock()
			if isFirst {
				beginning()
				<-asked
			}
		}
		w.stacks.ServeHTTP(rw, withForm(r, form))
	}))
	second.Screen = &questions{screen, func(text string) bool {
		if !strings.Contains(text, question) {
			return true
		}
		asking()
		<-done
		return answer
	}}
	go func() {
		defer close(done)
		defer beginning()
		firstErr = first.Run(w.t.Context())
	}()
	<-begun
	secondErr = second.Run(w.t.Context())
	asking()
	<-done
	mu.Lock()
	defer mu.Unlock()
	if made != 2 {
		w.t.Errorf("%d change sets of %s", made, stack)
	}
	return firstErr, secondErr
}

// Two first deploys share the stack that CloudFormation has for their change
// sets. Whatever the second does, that of the first stays.
func TestTwoFirstDeploys(t *testing.T) {
	t.Parallel()
	for _, agrees := range []bool{false, true} {
		w := newWorld(t)
		first, _ := w.deploy(another, nil)
		second, screen := w.deploy(settings.Settings{Filters: "prod/*:*"}, nil)
		err, secondErr := w.firstDeploys("prod", "Deploy this", agrees, first, second, screen)
		if err != nil {
			t.Fatal(err)
		}
		checkSecond(t, secondErr, agrees)
		if s := w.stacks.Stack("prod"); w.status() != "CREATE_COMPLETE" ||
			s.Parameters[deployed.ParamFilters] != another.Filters {
			t.Errorf("agrees %t: the stack is %s, filters %s", agrees, s.Status, s.Parameters[deployed.ParamFilters])
		}
	}
}

// The same of the companion stack.
func TestTwoFirstCompanions(t *testing.T) {
	t.Parallel()
	for _, agrees := range []bool{false, true} {
		w := newImageWorld(t)
		first, _ := w.deploy(another, nil)
		second, screen := w.deploy(settings.Settings{Filters: "prod/*:*"}, nil)
		name := companion.StackName("prod")
		err, secondErr := w.firstDeploys(name, "Make these repositories", agrees, first, second, screen)
		if err != nil {
			t.Fatal(err)
		}
		checkSecond(t, secondErr, agrees)
		if s := w.stacks.Stack(name); s == nil || s.Status != "CREATE_COMPLETE" || w.status() != "CREATE_COMPLETE" {
			t.Errorf("agrees %t: the companion is %+v", agrees, s)
		}
		if is := w.has(w.repository(generator)); is[companion.FunctionImage] != 1 {
			t.Errorf("agrees %t: the generator's repository has %v", agrees, is)
		}
	}
}

func checkSecond(t *testing.T, err error, agrees bool) {
	t.Helper()
	if !agrees {
		if !errors.Is(err, deploy.ErrDeclined) {
			t.Errorf("the error is %v, want ErrDeclined", err)
		}
		return
	}
	if err = awserror.Explain(err); err == nil || !strings.Contains(err.Error(), "so deploy again") {
		t.Errorf("the error is %v", err)
	}
}

// While somebody is asked whether to delete a stack that was never created, it is
// created after all: it stays, and is updated.
func TestCreatedWhileAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, screen := w.deploy(another, nil)
	waits, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	first.Screen = &questions{screen, func(string) bool {
		close(waits)
		<-goOn
		return true
	}}
	go func() { done <- first.Run(t.Context()) }()
	<-waits
	second, screen := w.deploy(settings.Settings{Filters: "prod/*:*"}, nil)
	second.Screen = &questions{screen, func(question string) bool {
		if strings.Contains(question, "can only be deleted") {
			close(goOn)
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		return true
	}}
	if err := second.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !screen.has("? Stack prod is REVIEW_IN_PROGRESS") ||
		!screen.has("and with it the change set soci-index-builder-") ||
		!screen.has("which somebody may be about to execute. Delete what is left of it?") {
		t.Errorf("said %q", screen.said)
	}
	if n := w.server.Count("cloudformation", "DeleteStack"); n != 0 || w.status() != "UPDATE_COMPLETE" {
		t.Errorf("%d deletions, the stack is %s", n, w.status())
	}
	if s := w.stacks.Stack("prod"); s.Parameters[deployed.ParamFilters] != "prod/*:*" {
		t.Errorf("the stack is %+v", s)
	}
}
