package deploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"soci-index-builder/internal/deploy/companion"
	"soci-index-builder/internal/deploy/lambdaimage"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
)

// recorder is the function beside whose image the records are.
const recorder = deployed.GeneratorID

// imagePlace are the repositories with the functions' images and the records.
type imagePlace struct {
	uris         map[string]string             // by the functions' logical ids
	repositories map[string]*companion.Managed // likewise, once they are opened
	managed      []string                      // functions whose repositories are the companion stack's
}

// openImages opens the repositories of functions. It makes no call.
func (d *Deploy) openImages(uris map[string]string, managed []string) (imagePlace, error) {
	p := imagePlace{uris: uris, repositories: map[string]*companion.Managed{}, managed: managed}
	for function, uri := range uris {
		one, err := companion.Open(d.AWS, uri, d.Mode.Registry...)
		if err != nil {
			return p, err
		}
		p.repositories[function] = one
	}
	return p, nil
}

// Place implements [Recorder].
func (p *imagePlace) Place() string { return p.uris[recorder] }

// Records implements [Recorder]. A repository of the user's own loses none of
// them.
func (p *imagePlace) Records(stack string) record.Store {
	of := p.repositories[recorder]
	if !slices.Contains(p.managed, recorder) {
		return record.InRepository(of.Registry(), nil, stack)
	}
	return record.InRepository(of.Registry(), of, stack)
}

// Prune implements [Recorder]. A repository of the user's own loses nothing, and
// neither does one that another stack has an image in: its records, which are
// elsewhere, may name more.
func (p *imagePlace) Prune(ctx context.Context, d *Deploy, kept, _ []*record.Record) (gone []string, err error) {
	if len(p.managed) == 0 {
		return nil, nil
	}
	stacks, err := d.parametersOfStacks(ctx)
	if err != nil {
		return nil, err
	}
	_, keep := record.Needed(kept)
	for _, has := range stacks {
		keep = append(keep, imagesOf(has)...)
	}
	for _, function := range p.managed {
		uri := p.uris[function]
		if namedElsewhere(stacks, d.Settings.Stack, uri) {
			continue
		}
		digests, err := p.repositories[function].Prune(ctx, keep, d.Mode.Now().Add(-fresh), false)
		if err != nil {
			return gone, err
		}
		for _, one := range digests {
			gone = append(gone, uri+"@"+one.String())
		}
	}
	return gone, nil
}

// namedElsewhere reports whether another stack has an image in a repository.
func namedElsewhere(stacks map[string]map[string]string, stack, uri string) bool {
	for name, has := range stacks {
		if name != stack && slices.ContainsFunc(imagesOf(has),
			func(image string) bool { return repositoryOf(image) == uri }) {
			return true
		}
	}
	return false
}

// imagesOf are the functions' images that a stack's parameters name.
func imagesOf(parameters map[string]string) (all []string) {
	for _, f := range companion.Functions {
		if image := parameters[f.Parameter]; image != "" {
			all = append(all, image)
		}
	}
	return all
}

// repositoryOf is the repository's URI in that of an image, by tag or by digest;
// empty when it is none.
func repositoryOf(image string) string {
	named, err := names.ParseHosted(image)
	if err != nil {
		return ""
	}
	return named.Host + "/" + named.Repository
}

// parametersOfStacks are those of all stacks of the account in the region, by
// the stacks' names.
func (d *Deploy) parametersOfStacks(ctx context.Context) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	pages := cloudformation.NewDescribeStacksPaginator(d.cloudFormation(), &cloudformation.DescribeStacksInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the stacks that name code: %w", err)
		}
		for _, s := range page.Stacks {
			has := map[string]string{}
			for _, p := range s.Parameters {
				has[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
			}
			all[aws.ToString(s.StackName)] = has
		}
	}
	return all, nil
}

// recordsBesideImages are the records of a stack with images; nil when their
// repository is none that deploy can have written to.
func (d *Deploy) recordsBesideImages(s *target.Stack) (record.Store, error) {
	uri := repositoryOf(s.Parameters[deployed.ParamGeneratorImage])
	if lambdaimage.CheckRepository(uri, d.Target.Account, d.Target.Region) != nil {
		return nil, nil
	}
	p, err := d.openImages(map[string]string{recorder: uri}, nil)
	if err != nil {
		return nil, err
	}
	return p.Records(s.Name), nil
}

// inCompanion are the functions whose repositories, of those that uris names,
// the companion stack has. It is an error if the stack of that name is
// not the program's.
func (d *Deploy) inCompanion(ctx context.Context, uris map[string]string) (functions []string, err error) {
	_, has, err := d.findCompanion(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range companion.Functions {
		image, err := names.ParseHosted(uris[f.LogicalID])
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(has, func(r companion.Repository) bool { return r.Name == image.Repository }) {
			functions = append(functions, f.LogicalID)
		}
	}
	return functions, nil
}
