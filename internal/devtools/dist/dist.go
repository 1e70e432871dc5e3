// Package dist builds what is deployed: for each Lambda function a static
// executable named bootstrap, and a zip file of it; and what is released: see
// [Release]. The same sources and the same Go release produce the same bytes,
// wherever and whenever they are built.
package dist

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Functions are the names of the Lambda functions: the folders under lambdas
// that hold their main packages.
var Functions = []string{"filter", "indexgen", "reponame"}

// Architectures are those that Lambda has, as Go names them. The first is the
// one to ship.
var Architectures = []string{"arm64", "amd64"}

// modified is the time of every file in an archive: the earliest that a zip
// file knows.
var modified = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Bootstrap builds the executable of one function for an operating system and
// an architecture into path. Deployed ones are for linux. It calls the go
// command, with the working directory inside this module. When it fails, a
// file that was at path before is still there.
func Bootstrap(ctx context.Context, function, goos, goarch, path string) error {
	return compile(ctx, "soci-index-builder/lambdas/"+function, Platform{goos, goarch}, path, "", "-tags=lambda.norpc")
}

// CommandLine builds the command line without the functions for a platform into
// path, with the flags of a release, like Bootstrap.
func CommandLine(ctx context.Context, p Platform, path string) error {
	return compile(ctx, commandPackage, p, path, "")
}

// compile builds the main package pkg for a platform into path. It passes the
// linker and the go command these flags besides those that every build has.
func compile(ctx context.Context, pkg string, p Platform, path, ldflags string, flags ...string) error {
	return replace(path, func(partial string) error {
		args := []string{"build", "-trimpath", "-buildvcs=false",
			"-ldflags=" + strings.TrimSpace("-s -w -buildid= "+ldflags),
			"-o", partial}
		cmd := exec.CommandContext(ctx, "go", append(append(args, flags...), pkg)...)
		cmd.Env = append(os.Environ(),
			"CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Arch,
			// These would change the bytes from one machine to the next.
			"GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off",
			"GOGC=400") // a tenth faster
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s for %s: %w\n%s", path, p, err, out)
		}
		return nil
	})
}

// Zip packs the executable at bootstrap into path, the way Lambda takes it:
// the file's name is bootstrap, its mode 0755, its time fixed.
func Zip(bootstrap, path string) error {
	return replace(path, func(partial string) error {
		if err := writeZip(bootstrap, partial); err != nil {
			return fmt.Errorf("packing %s: %w", bootstrap, err)
		}
		return nil
	})
}

func writeZip(bootstrap, path string) (err error) {
	in, err := os.Open(bootstrap)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	header := &zip.FileHeader{
		Name:     "bootstrap",
		Method:   zip.Deflate,
		Modified: modified,
	}
	header.SetMode(0o755)
	z := zip.NewWriter(out)
	w, err := z.CreateHeader(header)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	return z.Close()
}

// Build writes folder/<arch>/<function>/bootstrap and
// folder/<arch>/<function>.zip for linux, every function and each of the
// architectures, and calls done with each file when it is there.
func Build(ctx context.Context, folder string, architectures []string, done func(path string)) error {
	for _, arch := range architectures {
		for _, function := range Functions {
			bootstrap := filepath.Join(folder, arch, function, "bootstrap")
			if err := Bootstrap(ctx, function, "linux", arch, bootstrap); err != nil {
				return err
			}
			done(bootstrap)
			archive := filepath.Join(folder, arch, function+".zip")
			if err := Zip(bootstrap, archive); err != nil {
				return err
			}
			done(archive)
		}
	}
	return nil
}

// replace has write make a file beside path and puts it in path's place.
func replace(path string, write func(partial string) error) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	partial := path + ".partial"
	err = write(partial)
	if err == nil {
		err = os.Rename(partial, path)
	}
	if err != nil {
		if removeErr := os.Remove(partial); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}
