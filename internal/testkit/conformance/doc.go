// Package conformance compares this module's output with that of upstream's own
// builder, byte for byte and verdict for verdict.
//
// It consists of tests behind the build tag "conformance". They link
// github.com/awslabs/soci-snapshotter, which needs cgo and the static library
// of zlib; Debian has it in the package zlib1g-dev. Without it the linker
// reports that libz.a cannot be found.
package conformance
