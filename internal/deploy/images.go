package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/names"
	"soci-index-builder/internal/text/bytesize"
)

// ErrMissing: what was uploaded is not there any more.
var ErrMissing = errors.New("is not there")

// images are container images of the functions, in the companion stack's
// repositories or in the user's own.
type images struct {
	imagePlace

	all          []functionImage
	architecture string
	companion    []byte // template of the companion stack; nil when none is needed
	provisional  bool
}

type functionImage struct {
	companion.Function
	repository string // URI
	image      *lambdaimage.Image
}

func (i *images) Plan(ctx context.Context, d *Deploy) ([]string, error) {
	if err := d.checkRepositories(ctx); err != nil {
		return nil, err
	}
	uris, err := d.repositoryURIs()
	if err != nil {
		return nil, err
	}
	if i.provisional = d.Offline(); !i.provisional {
		if i.imagePlace, err = d.openImages(uris, d.managedFunctions()); err != nil {
			return nil, err
		}
		if err := d.checkInPlace(ctx, uris); err != nil {
			return nil, err
		}
	}
	if managed := d.managedFunctions(); len(managed) > 0 {
		if i.companion, err = companion.Template(d.Settings.Stack, managed...); err != nil {
			return nil, err
		}
	}
	var lines []string
	built := i.all
	i.all = nil
	for _, f := range companion.Functions {
		one := functionImage{Function: f, repository: uris[f.LogicalID]}
		// Steps are planned more than once; the same image is built once.
		at := slices.IndexFunc(built,
			func(b functionImage) bool { return b.Function == f && b.repository == one.repository })
		if at >= 0 && i.architecture == d.Settings.Architecture {
			one.image = built[at].image
		} else if one.image, err = d.buildImage(f, one.repository); err != nil {
			return nil, err
		}
		i.all = append(i.all, one)
		lines = append(lines, fmt.Sprintf("push the image of %s for %s, %s, to %s, unless it is there", f.LogicalID,
			d.Settings.Architecture, bytesize.Format(one.image.Size()), one.repository))
	}
	i.architecture = d.Settings.Architecture
	return lines, nil
}

// buildImage builds the image of a function for a repository, and judges it as
// Lambda does.
func (d *Deploy) buildImage(f companion.Function, repository string) (*lambdaimage.Image, error) {
	code, err := d.Mode.Functions(d.Settings.Architecture, f.Executable)
	if err != nil {
		return nil, err
	}
	image, err := lambdaimage.New(d.Settings.Architecture, repository, code)
	if err == nil {
		err = lambdaimage.Check(image.Descriptor, image.Fetch)
	}
	if err != nil {
		return nil, fmt.Errorf("the image of %s for %s: %w", f.Executable, d.Settings.Architecture, err)
	}
	return image, nil
}

// managedFunctions are the logical ids of the functions whose images go into
// repositories of the companion stack: all without one of the user's own.
func (d *Deploy) managedFunctions() []string {
	var all []string
	for _, f := range companion.Functions {
		if d.Settings.Repositories[f.LogicalID] == "" {
			all = append(all, f.LogicalID)
		}
	}
	return all
}

// Placeholders for the account and the region when AWS cannot be asked for them.
const (
	unknownAccount = "000000000000"
	unknownRegion  = "us-east-1"
)

// repositoryURIs returns the repository for each function's image, by logical id.
func (d *Deploy) repositoryURIs() (map[string]string, error) {
	account, region := unknownAccount, d.AWS.Region
	if d.Target != nil {
		account = d.Target.Account
	}
	if region == "" {
		region = unknownRegion
	}
	uris := maps.Clone(d.Settings.Repositories)
	if uris == nil {
		uris = map[string]string{}
	}
	for _, f := range d.managedFunctions() {
		uri, err := companion.RepositoryURI(account, region, d.Settings.Stack, f)
		if err != nil {
			return nil, err
		}
		uris[f] = uri
	}
	return uris, nil
}

// checkRepositories checks the user's own repositories, which must be there, in
// the account and region of the stack.
func (d *Deploy) checkRepositories(ctx context.Context) error {
	if d.Offline() {
		return nil
	}
	var errs []error
	client := ecr.NewFromConfig(d.AWS)
	for _, f := range slices.Sorted(maps.Keys(d.Settings.Repositories)) {
		uri := d.Settings.Repositories[f]
		if err := lambdaimage.CheckRepository(uri, d.Target.Account, d.Target.Region); err != nil {
			errs = append(errs, settingf("--repository %s: %w", f, err))
			continue
		}
		image, err := names.ParseHosted(uri)
		if err != nil {
			return err
		}
		_, err = client.DescribeRepositories(ctx,
			&ecr.DescribeRepositoriesInput{RepositoryNames: []string{image.Repository}, RegistryId: &d.Target.Account})
		if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); ok {
			errs = append(errs, settingf("--repository %s: the repository %s does not exist: make it with  aws ecr "+
				"create-repository --repository-name %[2]s --region %s", f, image.Repository, d.Target.Region))
		} else if err != nil {
			return awserror.Explain(fmt.Errorf("looking for the repository %s: %w", image.Repository, err))
		}
	}
	return errors.Join(errs...)
}

func (i *images) Parameters() (map[string]string, bool) {
	all := map[string]string{}
	for _, one := range i.all {
		all[one.Parameter] = one.image.URI(one.repository)
	}
	return all, i.provisional
}

func (i *images) Upload(ctx context.Context, d *Deploy) error {
	for _, one := range i.all {
		_, sent, err := one.image.Push(ctx, i.repositories[one.LogicalID].Registry())
		if err != nil {
			return fmt.Errorf("pushing the image of %s: %w", one.LogicalID, err)
		}
		what := "there already"
		if sent {
			what = "pushed"
		}
		d.Screen.Say(fmt.Sprintf("%-13s  %s", what, one.image.URI(one.repository)))
	}
	return nil
}

func (i *images) Check(ctx context.Context, _ *Deploy) error {
	for _, one := range i.all {
		there, err := one.image.There(ctx, i.repositories[one.LogicalID].Registry())
		if err == nil && !there {
			err = fmt.Errorf("the image %s %w: somebody has deleted it", one.image.URI(one.repository), ErrMissing)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Prepare implements [Recorder]: the repositories are there.
func (i *images) Prepare(context.Context, *Deploy) error { return nil }

// Code implements [Recorder].
func (i *images) Code() (bucket string, code map[string]record.Code) {
	code = map[string]record.Code{}
	for _, one := range i.all {
		code[one.LogicalID] = record.Code{Image: one.image.URI(one.repository)}
	}
	return "", code
}

// Sums implements [InPlace].
func (i *images) Sums() map[string]string {
	sums := map[string]string{}
	for _, one := range i.all {
		sums[one.LogicalID] = one.image.Descriptor.Digest.String()
	}
	return sums
}

// Source implements [InPlace].
func (i *images) Source(function string, in *lambda.UpdateFunctionCodeInput) {
	for _, one := range i.all {
		if one.LogicalID == function {
			in.ImageUri = aws.String(one.image.URI(one.repository))
		}
	}
}

// checkInPlace checks before code is changed in place, which makes no
// repository, that those of the companion stack are there.
func (d *Deploy) checkInPlace(ctx context.Context, uris map[string]string) error {
	if !d.Mode.CodeOnly {
		return nil
	}
	has, err := d.inCompanion(ctx, uris)
	if err != nil {
		return err
	}
	for _, f := range d.managedFunctions() {
		if !slices.Contains(has, f) {
			return fmt.Errorf("%w by --code-only: the repository %s is not there: deploy without it", ErrState, uris[f])
		}
	}
	return nil
}

// Save writes the images as OCI layouts, and the companion stack's template.
func (i *images) Save(folder string) ([]string, error) {
	var all []string
	for _, one := range i.all {
		layout := filepath.Join(folder, "images", one.Executable)
		if err := one.image.WriteLayout(layout); err != nil {
			return nil, fmt.Errorf("writing what would be deployed: %w", err)
		}
		err := filepath.WalkDir(layout, func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			name, err := filepath.Rel(folder, file)
			all = append(all, filepath.ToSlash(name))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("writing what would be deployed: %w", err)
		}
	}
	if i.companion == nil {
		return all, nil
	}
	more, err := saveAll(folder, map[string][]byte{path.Join("companion", "template.json"): i.companion})
	return append(all, more...), err
}

// namesRepository reports whether the stack's functions have their images in a
// repository, by its name.
func namesRepository(parameters map[string]string, repository string) bool {
	for _, f := range companion.Functions {
		image, err := names.ParseHosted(parameters[f.Parameter])
		if err == nil && image.Repository == repository {
			return true
		}
	}
	return false
}
