package deploy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	smithytime "github.com/aws/smithy-go/time"

	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/bytesize"
)

// zipNames are the ends of the keys of the functions' zip files, by the
// functions' logical ids.
var zipNames = func() map[string]string {
	all := map[string]string{}
	for _, f := range companion.Functions {
		all[f.LogicalID] = f.Executable + ".zip"
	}
	return all
}()

// unknownBucket is the placeholder for a managed bucket whose name is not known yet.
const unknownBucket = "soci-index-builder-000000000000"

// zipFiles are zip files in a bucket of the user's own, or in the managed one
// where the user has named none.
type zipFiles struct {
	codePlace

	packed *codebucket.Package
	sums   map[string]string // by the functions' logical ids
	look   *codebucket.Plan  // of the managed bucket; nil for the user's own
	name   string            // of the bucket; empty: not known yet
}

// codePlace is a bucket with code and records.
type codePlace struct {
	bucket  *codebucket.Bucket // nil until it is there
	managed *codebucket.Managed
}

// managedBucket is the one of the account and region.
func (d *Deploy) managedBucket() *codebucket.Managed {
	return codebucket.NewManaged(d.AWS, codebucket.ManagedOptions{
		Account: d.Target.Account, Partition: d.Target.Partition,
		Random: func() string {
			b := make([]byte, 6)
			_, _ = rand.Read(b) // it never fails
			return hex.EncodeToString(b)
		},
		Sleep: func(ctx context.Context, pause time.Duration) error {
			if d.Mode.Patience.Pause > 0 {
				pause = min(pause, d.Mode.Patience.Pause)
			}
			return smithytime.SleepWithContext(ctx, pause)
		},
	})
}

// openPlace opens the bucket that a stack or a record names, to read it.
func (d *Deploy) openPlace(ctx context.Context, name string) (codePlace, error) {
	p := codePlace{}
	var err error
	if names.IsManagedBucket(name, d.Target.Account, d.Target.Region) {
		p.managed = d.managedBucket()
		p.bucket, err = p.managed.Open(ctx, name)
	} else {
		p.bucket, err = codebucket.OpenOwn(ctx, d.AWS, name, d.Target.Account)
	}
	return p, err
}

func (z *zipFiles) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	files, size := map[string][]byte{}, 0
	for _, f := range companion.Functions {
		content, err := d.Mode.Functions(d.Settings.Architecture, f.Executable)
		if err != nil {
			return nil, err
		}
		files[zipNames[f.LogicalID]] = content
		size += len(content)
	}
	z.sums = map[string]string{}
	for function, name := range zipNames {
		sum := sha256.Sum256(files[name])
		z.sums[function] = base64.StdEncoding.EncodeToString(sum[:])
	}
	lines, err := z.planBucket(ctx, d)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if d.ownBucket() {
		prefix = codebucket.OwnPrefix
	}
	z.packed = codebucket.PackContents(prefix, files)
	return append(lines, fmt.Sprintf("upload the functions for %s, %s, to s3://%s/%s, unless they are there",
		d.Settings.Architecture, bytesize.Format(int64(size)), z.shownName(), z.packed.Prefix)), nil
}

// ownBucket reports whether the user has named a bucket that is not the managed
// one.
func (d *Deploy) ownBucket() bool {
	name := d.Settings.Bucket
	return name != "" && (d.Target == nil || !names.IsManagedBucket(name, d.Target.Account, d.Target.Region))
}

// planBucket finds the bucket, and says what would be made or put right.
func (z *zipFiles) planBucket(ctx context.Context, d *Deploy) (lines []string, err error) {
	own := d.ownBucket()
	z.codePlace, z.look, z.name = codePlace{}, nil, ""
	switch {
	case d.Offline() && own:
		z.name = d.Settings.Bucket
		return nil, nil
	case d.Offline():
		return []string{"a bucket: make one for the code of this account and region, or put it right"}, nil
	case own:
		z.name = d.Settings.Bucket
		z.bucket, err = codebucket.OpenOwn(ctx, d.AWS, z.name, d.Target.Account)
		return nil, err
	}
	known := d.Settings.Bucket
	if s := d.stack(); s != nil && known == "" {
		known = s.Parameters[deployed.ParamCodeBucket]
	}
	z.managed = d.managedBucket()
	if z.look, err = z.managed.Look(ctx, known); err != nil {
		return nil, err
	}
	z.name = z.look.Name
	for _, change := range z.look.Changes {
		lines = append(lines, "bucket "+z.shownName()+": "+change)
	}
	return lines, nil
}

func (z *zipFiles) shownName() string {
	if z.name == "" {
		return "soci-index-builder-..."
	}
	return z.name
}

func (z *zipFiles) Parameters() (values map[string]string, provisional bool) {
	name := z.name
	if name == "" {
		name, provisional = unknownBucket, true
	}
	return map[string]string{deployed.ParamCodeBucket: name, deployed.ParamCodeKeyPrefix: z.packed.Prefix}, provisional
}

// Prepare makes the managed bucket, or puts it right.
func (z *zipFiles) Prepare(ctx context.Context, d *Deploy) error {
	if z.look == nil {
		return nil
	}
	var err error
	if z.bucket, err = z.managed.Ensure(ctx, z.look); err != nil {
		return err
	}
	for _, change := range z.look.Changes {
		d.Screen.Say("bucket " + z.bucket.Name + ": " + change)
	}
	if z.name != z.bucket.Name {
		z.name = z.bucket.Name
		d.stale = true
	}
	if z.look.Exists {
		return nil
	}
	// Before there was a bucket, this could not be asked.
	return d.ask(ctx, "access denied, and nothing but the bucket "+z.name+" was made",
		d.askForBucket(z.bucket, z.packed.Objects[0].Key))
}

func (z *zipFiles) Upload(ctx context.Context, d *Deploy) error {
	for _, o := range z.packed.Objects {
		sent, err := z.bucket.Upload(ctx, o)
		if err != nil {
			return err
		}
		what := "there already"
		if sent {
			what = "uploaded"
		}
		d.Screen.Say(fmt.Sprintf("%-13s  s3://%s/%s", what, z.name, o.Key))
	}
	return nil
}

func (z *zipFiles) Check(ctx context.Context, _ *Deploy) error {
	var keys []string
	for _, o := range z.packed.Objects {
		keys = append(keys, o.Key)
	}
	return z.bucket.CheckOwner(ctx, keys...)
}

func (z *zipFiles) Save(folder string) ([]string, error) {
	files := map[string][]byte{}
	for _, o := range z.packed.Objects {
		files[path.Join("code", path.Base(o.Key))] = o.Content
	}
	return saveAll(folder, files)
}

// Code implements [Recorder].
func (z *zipFiles) Code() (bucket string, code map[string]record.Code) {
	code = map[string]record.Code{}
	for function, name := range zipNames {
		code[function] = record.Code{Key: z.packed.Prefix + name}
	}
	return z.name, code
}

// Sums implements [InPlace].
func (z *zipFiles) Sums() map[string]string { return maps.Clone(z.sums) }

// maxDirect is the largest zip file, in bytes, that Lambda takes within a
// request.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxDirect = 50 << 20 // 50 MiB

// Source implements [InPlace].
func (z *zipFiles) Source(function string, in *lambda.UpdateFunctionCodeInput) {
	i := slices.IndexFunc(z.packed.Objects, func(o codebucket.Object) bool {
		return path.Base(o.Key) == zipNames[function]
	})
	if o := z.packed.Objects[i]; len(o.Content) <= maxDirect {
		in.ZipFile = o.Content
	} else {
		in.S3Bucket, in.S3Key = &z.name, aws.String(o.Key)
	}
}
