package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/codebucket"
	"soci-index-builder/internal/deploy/record"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/names"
)

// lookAtEarlier lists what earlier versions left in the user's own buckets and
// repositories that the stack no longer uses. It stays: the stack does not name the
// place any more, and others may use it.
func (x *Destroy) lookAtEarlier(ctx context.Context) {
	if x.main == nil {
		return
	}
	var all []*record.Record
	store, err := x.d.recordsOf(ctx, x.main)
	if store != nil && err == nil {
		all, err = store.List(ctx)
	}
	if err != nil {
		if !errors.Is(err, codebucket.ErrNoBucket) {
			x.stays = append(x.stays,
				fmt.Sprintf("what earlier versions had in other buckets and repositories of yours, if "+
					"they had any: %v", awserror.Explain(err)))
		}
		return
	}
	keys, images := record.Needed(all)
	for _, bucket := range slices.Sorted(maps.Keys(keys)) {
		line := fmt.Sprintf("%s of earlier versions, and their records, in the bucket %s",
			number(len(keys[bucket]), "zip file", "zip files"), bucket)
		switch named := x.main.Parameters[deployed.ParamCodeBucket]; {
		case bucket == named:
		case !names.IsManagedBucket(bucket, x.d.Target.Account, x.d.Target.Region):
			x.stays = append(x.stays, fmt.Sprintf("%s, which is yours, such as %s: to delete them later: %s", line,
				keys[bucket][0], x.again(bucket)))
		case named != "": // else it has been looked at
			x.stays = append(x.stays, line+", which deploy made: a second destroy deletes them")
		}
	}
	count := map[string]int{}
	for _, image := range images {
		if repository := ownRepository(image, x.repositories); repository != "" &&
			!namesRepository(x.main.Parameters, repository) {
			count[repository]++
		}
	}
	for _, repository := range slices.Sorted(maps.Keys(count)) {
		x.stays = append(x.stays, fmt.Sprintf("%s of earlier versions in the repository %s, which is yours",
			number(count[repository], "image", "images"), repository))
	}
}
