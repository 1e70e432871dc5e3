// Package version holds the project's version, which is part of the stack, its
// code's keys, the command line and the release archives.
package version

// Version is a semantic version without a leading v.
const Version = "0.1.0"
