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
package soci
