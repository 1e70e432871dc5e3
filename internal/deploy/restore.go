package deploy

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
)

// restore finds the version that ran before, and has it deployed.
type restore struct{}

func (*restore) Name() string { return "rollback" }

func (*restore) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	s := d.stack()
	if s == nil {
		return nil, fmt.Errorf("stack %s: %w in region %s", d.Settings.Stack, deployed.ErrNotFound, d.AWS.Region)
	}
	store, err := d.recordsOf(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []*record.Record
	if store != nil {
		if all, err = store.List(ctx); err != nil {
			return nil, err
		}
	}
	if late := unmarked(all, s); late != nil {
		late.Succeeded = true // it is marked when all has been planned
	}
	running := func(r *record.Record) bool { return runs(r, all, s) }
	if newest := record.Running(all); newest != nil && !running(newest) && named(all, s) == nil {
		here, err := d.runsCodeOf(ctx, newest, s)
		if err != nil {
			return nil, fmt.Errorf("stack %s: whether the version of the record %s runs is not known: %w: nothing was "+
				"changed", s.Name, newest.ID, err)
		}
		running = func(*record.Record) bool { return here }
	}
	r, err := record.Target(all, running)
	if err != nil {
		return nil, fmt.Errorf("stack %s: %w: nothing was changed", s.Name, err)
	}
	d.restore(r)
	return []string{d.to()}, nil
}

func (d *Deploy) restore(r *record.Record) {
	d.restored = r
	d.Artifacts = recorded(r)
	d.Settings.Package, d.Settings.Architecture = r.Package, r.Architecture
}

// runsCodeOf reports whether a stack, of whose last update there is no record,
// is that of another record but for code that was changed in place: its functions
// tell. A user's own repository may have more records than are read.
func (d *Deploy) runsCodeOf(ctx context.Context, r *record.Record, s *target.Stack) (bool, error) {
	if halfway(s) || !isOfButCode(r, s) {
		return false, nil
	}
	d.restore(r)
	if _, err := d.Artifacts.Plan(ctx, d); err != nil {
		return false, err
	}
	client := lambda.NewFromConfig(d.AWS)
	for _, set := range codeSets(d.Artifacts.(InPlace), s) {
		has, err := d.codeOfFunction(ctx, client, set.name)
		if err != nil {
			return false, fmt.Errorf("asking for the code of the function %s: %w", set.name, err)
		}
		if has.sum != set.want {
			return false, nil
		}
	}
	return true, nil
}

// to says which version the rollback returns to.
func (d *Deploy) to() string {
	r := d.restored
	return fmt.Sprintf("back to what was deployed at %s by version %s (%s, %s; record %s)",
		r.Time.Format("2006-01-02 15:04:05 UTC"), r.Version, r.Package, r.Architecture, r.ID)
}

func (*restore) Do(_ context.Context, d *Deploy) error {
	d.Screen.Tell(d.to())
	return nil
}

// recorded is the code that a record names.
func recorded(r *record.Record) Artifacts {
	if r.Package == embedded.Image {
		return &recordedImages{record: r}
	}
	return &recordedZip{record: r}
}

// recordedZip are the zip files that a record names. They are in their bucket.
type recordedZip struct {
	codePlace

	record *record.Record
	sums   map[string]string // by the functions' logical ids
}

func (z *recordedZip) keys() []string {
	var keys []string
	for _, function := range slices.Sorted(maps.Keys(z.record.Code)) {
		keys = append(keys, z.record.Code[function].Key)
	}
	return keys
}

func (z *recordedZip) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	var err error
	if z.codePlace, err = d.openPlace(ctx, z.record.Bucket); err != nil {
		return nil, err
	}
	z.sums = map[string]string{}
	for function, code := range z.record.Code {
		if z.sums[function], err = z.bucket.Sum(ctx, code.Key); err != nil {
			return nil, fmt.Errorf("the code that the record %s names: %w", z.record.ID, err)
		}
	}
	return []string{fmt.Sprintf("take the functions from s3://%s/%s", z.record.Bucket, path.Dir(z.keys()[0])+"/")}, nil
}

func (z *recordedZip) Parameters() (values map[string]string, provisional bool) {
	return z.record.Parameters, false
}

func (z *recordedZip) Upload(_ context.Context, d *Deploy) error {
	for _, key := range z.keys() {
		d.Screen.Say(fmt.Sprintf("%-13s  s3://%s/%s", "there already", z.record.Bucket, key))
	}
	return nil
}

func (z *recordedZip) Check(ctx context.Context, _ *Deploy) error {
	return z.bucket.CheckOwner(ctx, z.keys()...)
}

// Save writes nothing: the code is in the bucket.
func (z *recordedZip) Save(string) ([]string, error) { return nil, nil }

// Prepare implements [Recorder]: the place is there.
func (z *recordedZip) Prepare(context.Context, *Deploy) error { return nil }

// Code implements [Recorder].
func (z *recordedZip) Code() (bucket string, code map[string]record.Code) {
	return z.record.Bucket, maps.Clone(z.record.Code)
}

// Sums implements [InPlace].
func (z *recordedZip) Sums() map[string]string { return maps.Clone(z.sums) }

// Source implements [InPlace].
func (z *recordedZip) Source(function string, in *lambda.UpdateFunctionCodeInput) {
	key := z.record.Code[function].Key
	in.S3Bucket, in.S3Key = &z.record.Bucket, &key
}
