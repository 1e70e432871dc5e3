// Package soci builds SOCI indexes: for each layer of an image a zTOC, from
// one pass over the stream of its compressed bytes, and for each image
// manifest the SOCI index that lists them.
//
// Call IndexImage to index an image of a repository, or BuildZtoc and
// Ztoc.Marshal for a single layer. The output is byte-identical to that of
// soci-snapshotter's library for the same layer, span size and build-tool
// identifier, and does not change across releases; see docs/format.md for the
// rules.
//
// The words:
//
//   - A span is a run of compressed bytes between two checkpoints.
//   - A checkpoint is the decoder's state at a deflate block boundary.
//   - A zTOC is the table of contents and the checkpoints of one layer. It is
//     not called an index.
//   - A SOCI index is the manifest that lists the zTOCs of one image manifest.
//     It is not called an image.
//   - A SOCI-enabled image is an image index that carries an image and its
//     SOCI indexes (v2).
//
// The files, in the order in which an image passes through them:
//
//   - image.go: IndexImage, the whole job; options.go, limits.go and version.go
//     are what it is asked for, result.go, text.go and errors.go what it answers.
//   - kind.go classifies manifests, walk.go finds the image manifests, by
//     manifest.go, mediatypes.go and platform.go; status.go examines an image
//     without indexing it, with blobs.go.
//   - reuse.go takes zTOCs of earlier builds, check.go finds out whether they are
//     there and right; match.go, likeness.go and keep.go compare with what is published.
//   - layers.go has the layers built side by side, within memory.go's budget and
//     on processors.go's processors; probe.go finds out first whether anything can
//     be pushed.
//   - build.go: BuildZtoc, one layer. blob.go reads its bytes, compression.go tells
//     how they are packed, hasher.go takes their digests, spans.go places the
//     checkpoints, parallel.go (parallelfrom.go, parallelalways.go) has several
//     workers decode.
//   - toc.go reads the archive, tarheader.go its plain headers; misread.go finds
//     what clients would misread.
//   - ztoc.go, marshal.go and parse.go: a zTOC and its bytes.
//   - index.go: SOCI indexes and their bytes; unindexable.go and verdict.go are the
//     notes in them on layers and images without a zTOC.
//   - enabled.go makes the SOCI-enabled image, publish.go and tag.go push.
//   - plan.go: Plan, BuildLayer and Publish, the same job in several processes.
//   - prefetch.go: prefetch artifacts; prefetchpattern.go reads what is to be
//     prefetched, prefetchfind.go, prefetchglob.go and pathtable.go find it,
//     prefetchbuild.go makes the artifacts, prefetchlost.go warns of those that a tag
//     loses; filesearch.go finds single files.
package soci
