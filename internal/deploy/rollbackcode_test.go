package deploy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/testkit/awstest"
)

// The stack goes on naming the code of its last update, however often code is
// changed in place: the record of that update stays, and a rollback goes to the
// version before.
func TestRollbackAfterMuchCodeOnly(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{"code", managedName} {
		t.Run(bucket, func(t *testing.T) {
			w := newWorld(t)
			next := w.managed
			if bucket == "code" {
				next = w.deploy
			}
			var sums []map[string]string
			w.version = "a"
			w.run(next(settings.Settings{}, nil))
			for i := range 7 {
				w.version = string(rune('b' + i))
				d, screen := next(settings.Settings{}, at(time.Duration(2*(i+1))*time.Hour))
				d.Mode.CodeOnly = true
				w.run(d, screen)
				sums = append(sums, w.sums())
			}
			prefix := map[string]string{"code": codebucket.OwnPrefix}[bucket]
			if n := len(w.objects(bucket, prefix+"records/prod/", ".json")); n != 6 {
				t.Errorf("%d records, want the five newest and the one of what the stack names", n)
			}
			w.run(w.rollback(at(20 * time.Hour)))
			if !maps.Equal(w.sums(), sums[5]) {
				t.Errorf("the code is not that of the deploy before the last one")
			}
		})
	}
}

// Where no record is left of what the stack names, the functions tell which
// version runs.
func TestRollbackWithoutTheStacksRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, version := range []string{"a", "b", "c"} {
		w.version = version
		d, screen := w.managed(settings.Settings{}, at(time.Duration(i)*time.Minute))
		d.Mode.CodeOnly = i > 0
		w.run(d, screen)
		if i == 0 {
			b, err := codebucket.NewManaged(w.config, codebucket.ManagedOptions{Account: awstest.Account}).
				Open(t.Context(), managedName)
			if err == nil {
				err = b.Remove(t.Context(), slices.Concat(w.objects(managedName, "records/", ".json"),
					w.objects(managedName, "records/", ".succeeded"))...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	c := w.sums()
	screen := w.run(w.rollback(at(time.Hour)))
	records := w.objects(managedName, "records/prod/", ".json")
	want := "record " + strings.TrimSuffix(strings.TrimPrefix(records[0], "records/prod/"), ".json")
	if maps.Equal(w.sums(), c) || !screen.has(want) {
		t.Errorf("the code is that which ran before: %t, said %q", maps.Equal(w.sums(), c), screen.said)
	}
}
