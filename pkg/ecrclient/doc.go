// Package ecrclient reads and writes one repository of an OCI registry: Amazon
// ECR, where it authenticates through the AWS SDK, or any other, where it uses
// the credentials of docker login or podman login. Begin with New.
//
// The files:
//
//   - repository.go: New; options.go its options, host.go which hosts are
//     ECR's, errors.go and tags.go how requests fail.
//   - client.go sends requests, with retry.go, transport.go, completing.go and
//     timeup.go; auth.go, token.go and keychain.go have the credentials.
//   - redact.go keeps secrets out of errors, thismachine.go keeps a registry from
//     sending requests to this machine.
//   - manifest.go and describe.go read manifests, list.go, listtags.go and
//     referrers.go lists.
//   - blob.go: Fetch and FetchRange. resume.go goes on after a failure, by
//     connection.go; pieces.go reads ahead, by parallel.go; location.go keeps where
//     the bytes are, blobsize.go only asks for a size.
//   - push.go and replace.go write, delete.go and deletetag.go delete; listed.go sees
//     to it that the list of referrers has what is written.
//   - catalog.go and recent.go find SOCI indexes of earlier builds.
package ecrclient
