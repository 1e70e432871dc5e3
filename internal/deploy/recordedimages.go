package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/ours"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/pkg/ecrclient"
)

// recordedImages are the images that a record names. They are in their
// repositories.
type recordedImages struct {
	imagePlace

	record *record.Record
}

func (i *recordedImages) Plan(ctx context.Context, d *Deploy) (lines []string, err error) {
	uris := map[string]string{}
	for _, f := range companion.Functions {
		image := i.record.Code[f.LogicalID].Image
		if image == "" || image != i.record.Parameters[f.Parameter] {
			return nil, fmt.Errorf("record %s: %w: its image of %s is %.300q, its parameter %s %.300q", i.record.ID,
				record.ErrCorrupt, f.LogicalID, image, f.Parameter, i.record.Parameters[f.Parameter])
		}
		// Someone who can write records must not get the caller's token through one.
		uri := repositoryOf(image)
		if err := lambdaimage.CheckRepository(uri, d.Target.Account, d.Target.Region); err != nil {
			return nil, fmt.Errorf("record %s: %w", i.record.ID, err)
		}
		uris[f.LogicalID] = uri
		lines = append(lines, fmt.Sprintf("take the image of %s from %s", f.LogicalID, image))
	}
	managed, err := d.inCompanion(ctx, uris)
	// Repositories that are not known to be the program's are the user's own, and
	// nothing is deleted from them.
	if err != nil && !errors.Is(err, ours.ErrForeign) && !errors.Is(awserror.Explain(err), awserror.ErrDenied) {
		return nil, err
	}
	if i.imagePlace, err = d.openImages(uris, managed); err != nil {
		return nil, err
	}
	return lines, i.Check(ctx, d)
}

func (i *recordedImages) Parameters() (values map[string]string, provisional bool) {
	return i.record.Parameters, false
}

func (i *recordedImages) Upload(_ context.Context, d *Deploy) error {
	for _, f := range companion.Functions {
		d.Screen.Say(fmt.Sprintf("%-13s  %s", "there already", i.record.Code[f.LogicalID].Image))
	}
	return nil
}

func (i *recordedImages) Check(ctx context.Context, _ *Deploy) error {
	for _, f := range companion.Functions {
		image := i.record.Code[f.LogicalID].Image
		_, err := i.repositories[f.LogicalID].Registry().Resolve(ctx, i.record.Code[f.LogicalID].Digest())
		if errors.Is(err, ecrclient.ErrNotFound) {
			err = fmt.Errorf(
				"the image %s that the record %s names %w: it was deleted, so that this version cannot be "+
					"deployed again", image, i.record.ID, ErrMissing)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Save writes nothing: the images are in their repositories.
func (i *recordedImages) Save(string) ([]string, error) { return nil, nil }

// Prepare implements [Recorder]: the place is there.
func (i *recordedImages) Prepare(context.Context, *Deploy) error { return nil }

// Code implements [Recorder].
func (i *recordedImages) Code() (bucket string, code map[string]record.Code) {
	return "", maps.Clone(i.record.Code)
}

// Sums implements [InPlace].
func (i *recordedImages) Sums() map[string]string {
	sums := map[string]string{}
	for function, code := range i.record.Code {
		sums[function] = code.Digest()
	}
	return sums
}

// Source implements [InPlace].
func (i *recordedImages) Source(function string, in *lambda.UpdateFunctionCodeInput) {
	image := i.record.Code[function].Image
	in.ImageUri = &image
}
