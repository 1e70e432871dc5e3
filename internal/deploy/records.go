package deploy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/opencontainers/go-digest"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/embedded/version"
)

// Recorder are [Artifacts] beside which the records of deploys are kept.
type Recorder interface {
	// Prepare makes the place that code and records go to, or puts it right, and
	// says so line by line. It comes before Upload. When the parameters change by
	// it, it sets Deploy.stale.
	Prepare(ctx context.Context, d *Deploy) error

	// Place is where code and records are, in words that tell two apart. It is
	// known after Prepare.
	Place() string

	// Records are those of a stack, in a place that is there.
	Records(stack string) record.Store

	// Code is where the functions' code is, or will be after Upload, by their
	// logical ids; the bucket is empty for images.
	Code() (bucket string, code map[string]record.Code)

	// Prune deletes the code that neither a stack nor a kept record names, and
	// returns a name for each that is gone. Old are the records that will be
	// deleted, and kept those that stay. It deletes nothing unless it knows all
	// that is named.
	Prune(ctx context.Context, d *Deploy, kept, old []*record.Record) (gone []string, err error)
}

// records are what a deploy does with the records of its stack.
type records struct {
	store   record.Store
	written *record.Record // before the execution; nil: nothing was expected to change
	begun   bool           // the execution
}

// begin prepares the place of code and records, and writes the record of the
// deploy unless nothing is expected to change.
func (r *records) begin(ctx context.Context, d *Deploy) error {
	keeper, ok := d.Artifacts.(Recorder)
	if !ok {
		return nil
	}
	if err := keeper.Prepare(ctx, d); err != nil {
		return err
	}
	if _, err := d.choose(); err != nil { // the parameters may have changed
		return err
	}
	r.store = keeper.Records(d.Settings.Stack)
	before, err := r.carry(ctx, d)
	if err != nil || d.same() {
		return err
	}
	one, err := d.newRecord(before)
	if err != nil {
		return err
	}
	if err := r.store.Write(ctx, one); err != nil {
		return fmt.Errorf("writing the record of this deploy: %w", err)
	}
	r.written = one
	d.Screen.Say("record " + one.ID + " written")
	return nil
}

// same reports whether the stack has template, parameters and tags already.
func (d *Deploy) same() bool {
	s := d.stack()
	if s == nil || halfway(s) || string(s.Template) != string(d.Template) || len(d.TagChanges()) > 0 {
		return false
	}
	for _, c := range d.Choices {
		if c.Changed() {
			return false
		}
	}
	return true
}

// newRecord is that of what is deployed, after the ones before: it comes later
// by its id, also by clocks that are not right.
func (d *Deploy) newRecord(before []*record.Record) (*record.Record, error) {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // it never fails
	now := d.Mode.Now()
	if len(before) > 0 && !now.Truncate(time.Second).After(before[0].Time) {
		now = before[0].Time.Add(time.Second)
	}
	one := record.Record{
		ID: record.NewID(now, hex.EncodeToString(b)), Stack: d.Settings.Stack, Time: now, Version: version.Version,
		Package: d.Settings.Package, Architecture: d.Settings.Architecture, Template: string(d.Template),
		Parameters: map[string]string{}, Tags: d.tags(), Role: d.Settings.RoleARN,
	}
	if s := d.stack(); s != nil {
		one.StackARN = s.ID
		if one.Role == "" {
			one.Role = s.RoleARN
		}
	}
	for _, c := range d.Choices {
		one.Parameters[c.Name] = c.Value
	}
	one.Bucket, one.Code = d.Artifacts.(Recorder).Code()
	return record.New(one)
}

// carry marks the record of what the stack has, where that was not done, and
// copies the records to the place of the new code, when the stack leaves
// another: a rollback looks only where the running code is. What cannot be read
// stays where it is, and is said. It returns the records, the newest first.
func (r *records) carry(ctx context.Context, d *Deploy) (all []*record.Record, err error) {
	s := d.stack()
	if s == nil {
		return nil, nil
	}
	from, err := d.recordsOf(ctx, s)
	if from == nil && err == nil {
		return nil, nil
	}
	if err == nil {
		all, err = from.List(ctx)
	}
	if err == nil {
		if late := unmarked(all, s); late != nil {
			err = from.MarkSucceeded(ctx, late)
			late.Succeeded = err == nil
		}
	}
	if err != nil {
		d.Screen.Tell(fmt.Sprintf(
			"the records of the deploys before cannot be read, so that rollback may not know them: %v",
			awserror.Explain(err)))
		return nil, nil
	}
	if placeOf(s) == d.Artifacts.(Recorder).Place() {
		return all, nil
	}
	kept, _ := record.Kept(all, record.Keep)
	for _, one := range kept {
		if !one.Succeeded {
			continue
		}
		if err = r.store.Write(ctx, one); err == nil {
			err = r.store.MarkSucceeded(ctx, one)
		}
		if err != nil {
			return nil, fmt.Errorf("copying the record %s: %w", one.ID, err)
		}
	}
	return all, nil
}

// recordsOf are the records beside the code of a stack; nil when there is no
// place for them.
func (d *Deploy) recordsOf(ctx context.Context, s *target.Stack) (record.Store, error) {
	if kind, _ := codeOf(s.Template); kind == embedded.Image {
		return d.recordsBesideImages(s)
	}
	name := s.Parameters[deployed.ParamCodeBucket]
	if name == "" {
		return nil, nil
	}
	place, err := d.openPlace(ctx, name)
	if err != nil {
		return nil, err
	}
	return place.Records(s.Name), nil
}

// placeOf is where the code of a stack is, as [Recorder.Place] has it.
func placeOf(s *target.Stack) string {
	if kind, _ := codeOf(s.Template); kind == embedded.Image {
		return repositoryOf(s.Parameters[deployed.ParamGeneratorImage])
	}
	return inBucket(s.Parameters[deployed.ParamCodeBucket])
}

func inBucket(name string) string { return "s3://" + name }

// unmarked returns the newest record, if it is of what the stack has and was not
// marked: the deploy did not wait for the end, or the answer was lost.
func unmarked(all []*record.Record, s *target.Stack) *record.Record {
	if !target.Succeeded(s.Status) {
		return nil
	}
	for _, r := range all {
		if r.Succeeded {
			return nil // an older one was not the last
		}
		if isOf(r, s) {
			return r
		}
	}
	return nil
}

// isOf reports whether a record is of what a stack has.
func isOf(r *record.Record, s *target.Stack) bool { return isOfWithout(r, s, nil) }

// isOfButCode is as isOf, wherever the code is.
func isOfButCode(r *record.Record, s *target.Stack) bool { return isOfWithout(r, s, codeParameters) }

// isOfWithout is as isOf, whatever the values of some parameters.
func isOfWithout(r *record.Record, s *target.Stack, without []string) bool {
	if r.TemplateDigest != digest.FromBytes(s.Template) {
		return false
	}
	for name, value := range r.Parameters {
		if s.Parameters[name] != value && !slices.Contains(without, name) {
			return false
		}
	}
	return maps.Equal(r.Tags, s.Tags)
}

// runs reports whether a record, of all of them, is of what a stack runs. The
// stack does not name code that was changed in place, but that of an earlier
// record.
func runs(r *record.Record, all []*record.Record, s *target.Stack) bool {
	if halfway(s) {
		return false
	}
	other := named(all, s)
	return isOf(r, s) || other != nil && sameButCode(r, other)
}

// named is the newest record that succeeded of what a stack has; nil for none, or
// no stack.
func named(all []*record.Record, s *target.Stack) *record.Record {
	i := slices.IndexFunc(all, func(r *record.Record) bool { return s != nil && r.Succeeded && isOf(r, s) })
	if i < 0 {
		return nil
	}
	return all[i]
}

// halfway reports whether an update of a stack has failed and was not rolled
// back: it names what it was to have, of which it has some.
func halfway(s *target.Stack) bool { return s.Status == string(types.StackStatusUpdateFailed) }

// sameButCode reports whether two records differ in nothing but the code.
func sameButCode(a, b *record.Record) bool {
	withoutCode := func(r *record.Record) map[string]string {
		all := maps.Clone(r.Parameters)
		for _, name := range codeParameters {
			delete(all, name)
		}
		return all
	}
	return a.TemplateDigest == b.TemplateDigest && maps.Equal(a.Tags, b.Tags) &&
		maps.Equal(withoutCode(a), withoutCode(b))
}

// codeParameters are those that say where the code is.
var codeParameters = []string{deployed.ParamCodeBucket, deployed.ParamCodeKeyPrefix, deployed.ParamFilterImage,
	deployed.ParamGeneratorImage, deployed.ParamRepositoryNameImage}

// drop deletes the record of a deploy that ended before its execution.
func (r *records) drop(ctx context.Context, d *Deploy, failed error) {
	if failed == nil || r.begun || r.written == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := r.store.Delete(ctx, []*record.Record{r.written}); err != nil {
		d.Screen.Tell(fmt.Sprintf("the record %s of this deploy is left: %v", r.written.ID, awserror.Explain(err)))
	}
}

// keep marks the record of the deploy, and deletes old ones and old code.
type keep struct{}

func (*keep) Name() string { return "records" }

func (*keep) Plan(_ context.Context, d *Deploy) ([]string, error) {
	if _, ok := d.Artifacts.(Recorder); !ok || d.Mode.Detach {
		return nil, nil
	}
	if d.idle() {
		return nil, nil
	}
	return []string{fmt.Sprintf(
		"mark the record of this deploy, which was written before its execution; keep %d of them",
		record.Keep), "delete code that no stack and no record names any more"}, nil
}

// Do fails nothing: what was to be deployed is.
func (k *keep) Do(ctx context.Context, d *Deploy) error {
	r := &d.records
	if r.store == nil {
		return nil
	}
	// The deployment has succeeded, so it is marked even if the caller gives up.
	ctx = context.WithoutCancel(ctx)
	if err := k.mark(ctx, d); err != nil {
		d.Screen.Tell(fmt.Sprintf("the record of this deploy could not be marked, the next one does that: %v",
			awserror.Explain(err)))
		return nil
	}
	if d.idle() {
		return nil
	}
	if err := k.prune(ctx, d); err != nil {
		d.Screen.Tell(fmt.Sprintf("no old code is deleted: %v", awserror.Explain(err)))
	}
	return nil
}

func (*keep) mark(ctx context.Context, d *Deploy) error {
	r := &d.records
	if r.written != nil && !d.unchanged() && !d.idle() {
		return r.succeeded(ctx, d, r.written)
	}
	// The stack has not changed. What runs must have a record all the same.
	all, err := r.store.List(ctx)
	if err != nil {
		return err
	}
	if r.written != nil {
		if err := r.store.Delete(ctx, []*record.Record{r.written}); err != nil {
			return err
		}
	}
	one, err := d.newRecord(all)
	if err != nil {
		return err
	}
	if running := record.Running(all); running != nil && running.SameVersion(one) {
		return nil
	}
	if err := r.store.Write(ctx, one); err != nil {
		return err
	}
	return r.succeeded(ctx, d, one)
}

func (r *records) succeeded(ctx context.Context, d *Deploy, one *record.Record) error {
	if err := r.store.MarkSucceeded(ctx, one); err != nil {
		return err
	}
	d.Screen.Say("record " + one.ID + " marked: rollback knows this version")
	return nil
}

// fresh is for how long code is kept that nothing names, and a change set that was
// not executed: another deploy may have just brought it, and go on.
const fresh = time.Hour

// prune deletes old records with the code that they alone name. The code is
// deleted first: without its record it could not be found in a user's own bucket.
func (*keep) prune(ctx context.Context, d *Deploy) error {
	r := &d.records
	all, err := r.store.List(ctx)
	if err != nil {
		return err
	}
	kept, old := record.Kept(all, record.Keep)
	named := named(all, d.stack())
	old = slices.DeleteFunc(old, func(one *record.Record) bool {
		// Code of the last hour stays, so its record does; and without the record of
		// what the stack names a rollback could not tell what was changed in place.
		stays := one == named || one.Time.After(d.Mode.Now().Add(-fresh))
		if stays {
			kept = append(kept, one)
		}
		return stays
	})
	gone, err := d.Artifacts.(Recorder).Prune(ctx, d, kept, old)
	for _, name := range gone {
		d.Screen.Say("deleted        " + name)
	}
	if err != nil {
		return err
	}
	if err := r.store.Delete(ctx, old); err != nil {
		return fmt.Errorf("deleting old records: %w", err)
	}
	return nil
}
