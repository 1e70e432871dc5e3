package dist

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/embedded/version"
	"soci-index-builder/internal/names/lazyregexp"
)

const (
	program        = "soci-index-builder"
	commandPackage = "soci-index-builder/cmd/" + program
)

// Platform is an operating system and an architecture, as Go names them.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Platforms are those that the command line is released for.
var Platforms = []Platform{{"darwin", "amd64"}, {"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}}

// Checksums is the name of the file with the sha256 of all others, in the form
// that "sha256sum -c" reads.
const Checksums = "SHA256SUMS"

// ErrVersion is a version that cannot be part of a file's name.
var ErrVersion = errors.New("invalid version")

// Release is a release to be built: for each platform an archive of the
// command line, which has the functions in it, with its manual pages,
// completions, documents and templates, an archive of the stack (the functions' zip files,
// by architecture, and the templates), and the checksums of these.
type Release struct {
	// Version is what --version prints, and part of the files' names: 1 to 100
	// letters, digits, ".", "_", "-" and "+", the first a letter or a digit.
	Version string

	// Folder is where the files are written. It is made if it is not there;
	// what an earlier release left in it is removed.
	Folder string

	// Platforms and Architectures (of the functions) to build for. The default
	// is all of them.
	Platforms     []Platform
	Architectures []string

	// Templates is the folder of the stack's templates. The default is
	// templates in the module.
	Templates string
}

var versionPattern = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$`)

// Build writes the release and calls done with each file when it is there. It
// calls the go command, with the working directory inside this module. A
// version that is not allowed is ErrVersion.
func (r Release) Build(ctx context.Context, done func(path string)) (err error) {
	if !versionPattern.MatchString(r.Version) {
		return fmt.Errorf(
			"%w %q: it must be 1 to 100 letters, digits, \".\", \"_\", \"-\" and \"+\", the first a letter "+
				"or a digit", ErrVersion, r.Version)
	}
	if len(r.Platforms) == 0 {
		r.Platforms = Platforms
	}
	if len(r.Architectures) == 0 {
		r.Architectures = Architectures
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if r.Templates == "" {
		r.Templates = filepath.Join(root, "templates")
	}
	work, err := os.MkdirTemp("", program+"-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := r.clear(); err != nil {
		return err
	}
	b := &releaser{Release: r, root: root, work: work, functions: filepath.Join(work, "functions")}
	if err := Build(ctx, b.functions, b.Architectures, func(string) {}); err != nil {
		return err
	}
	for _, step := range []func(context.Context) ([]string, error){b.commandLines, b.stack} {
		files, err := step(ctx)
		if err != nil {
			return err
		}
		b.files = append(b.files, files...)
		for _, f := range files {
			done(f)
		}
	}
	sums := filepath.Join(r.Folder, Checksums)
	if err := writeChecksums(sums, b.files); err != nil {
		return err
	}
	done(sums)
	return nil
}

// clear removes what an earlier release left, so that nothing stands beside
// checksums that do not name it.
func (r Release) clear() error {
	old, err := filepath.Glob(filepath.Join(r.Folder, program+"_*.tar.gz"))
	if err != nil {
		return err
	}
	for _, path := range append(old, filepath.Join(r.Folder, Checksums)) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// releaser builds one release.
type releaser struct {
	Release
	root      string // of the module
	work      string // a folder that goes away
	functions string // the folder in it with the functions
	files     []string
}

// commandLines writes the archives of the command line.
func (b *releaser) commandLines(ctx context.Context) ([]string, error) {
	documents, err := b.documents(ctx)
	if err != nil {
		return nil, err
	}
	flags, err := withFunctions(b.root, b.functions, b.work, b.Architectures)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, p := range b.Platforms {
		executable := filepath.Join(b.work, p.OS, p.Arch, program)
		if err := b.commandLine(ctx, p, executable, flags...); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%s_%s_%s_%s", program, b.Version, p.OS, p.Arch)
		file := filepath.Join(b.Folder, name+".tar.gz")
		if err := archive(file, name, slices.Concat(documents, []entry{{program, executable, 0o755}})); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (b *releaser) commandLine(ctx context.Context, p Platform, path string, flags ...string) error {
	return compile(ctx, commandPackage, p, path, "-X main.version="+b.Version+commit(ctx), flags...)
}

// commit returns the linker's flags that record which commit is built, and its
// date; none outside of a git repository.
func commit(ctx context.Context) string {
	out, err := output(ctx, "git", "log", "-1", "--format=-X main.commit=%H -X main.commitDate=%cI")
	if err != nil {
		return ""
	}
	return " " + strings.TrimSpace(string(out))
}

// completions are the shells that they are written for, with the names under
// which the shells look for them.
var completions = []struct{ shell, file string }{
	{"bash", program + ".bash"},
	{"fish", program + ".fish"},
	{"zsh", "_" + program},
	{"powershell", program + ".ps1"},
}

// documents returns what every archive of the command line has beside it.
func (b *releaser) documents(ctx context.Context) ([]entry, error) {
	var entries []entry
	for _, name := range []string{"LICENSE", "README.md", "SECURITY.md", "CHANGELOG.md"} {
		entries = append(entries, entry{name, filepath.Join(b.root, name), 0o644})
	}
	docs, err := folder(filepath.Join(b.root, "docs"), "docs")
	if err != nil {
		return nil, err
	}
	templates, err := b.templates()
	if err != nil {
		return nil, err
	}
	docs = slices.DeleteFunc(docs, func(e entry) bool { return path.Ext(e.name) == ".go" }) // tests
	entries = slices.Concat(entries, docs, templates)
	if entries, err = b.standAlone(entries); err != nil {
		return nil, err
	}

	// The program itself knows its verbs.
	here := filepath.Join(b.work, "here", program)
	if err := b.commandLine(ctx, Platform{runtime.GOOS, runtime.GOARCH}, here); err != nil {
		return nil, err
	}
	man := filepath.Join(b.work, "man1")
	if err := os.Mkdir(man, 0o755); err != nil {
		return nil, err
	}
	if _, err := output(ctx, here, "docs", "man", man); err != nil {
		return nil, err
	}
	pages, err := folder(man, "man/man1")
	if err != nil {
		return nil, err
	}
	entries = append(entries, pages...)
	for _, c := range completions {
		script, err := output(ctx, here, "completion", c.shell)
		if err != nil {
			return nil, err
		}
		from := filepath.Join(b.work, c.file)
		if err := os.WriteFile(from, script, 0o644); err != nil {
			return nil, err
		}
		entries = append(entries, entry{"completions/" + c.file, from, 0o644})
	}
	return entries, nil
}

// standAlone has the documents among entries name nothing that the archive does
// not have.
func (b *releaser) standAlone(entries []entry) ([]entry, error) {
	there := map[string]bool{}
	for _, e := range entries {
		for name := e.name; name != "."; name = path.Dir(name) {
			there[name] = true
		}
	}
	var all []entry
	for _, e := range entries {
		if path.Ext(e.name) == ".md" {
			content, err := os.ReadFile(e.from)
			if err != nil {
				return nil, err
			}
			e.from = filepath.Join(b.work, "documents", filepath.FromSlash(e.name))
			if err := os.MkdirAll(filepath.Dir(e.from), 0o755); err != nil {
				return nil, err
			}
			text := standalone(e.name, string(content), func(name string) bool { return there[name] })
			if err := os.WriteFile(e.from, []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// templates returns the templates as they are committed, for arm64, and beside
// each the one for every other architecture of the functions.
func (b *releaser) templates() ([]entry, error) {
	const extension = ".template.json"
	committed, err := folder(b.Templates, "templates")
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, e := range committed {
		name, ok := strings.CutSuffix(e.name, extension)
		if !ok {
			continue // what embeds them
		}
		entries = append(entries, e)
		text, err := os.ReadFile(e.from)
		if err != nil {
			return nil, err
		}
		for _, arch := range b.Architectures {
			if arch == "arm64" {
				continue
			}
			other, err := embedded.For(text, arch)
			if err != nil {
				return nil, fmt.Errorf("template %s for %s: %w", e.from, arch, err)
			}
			to := name + "-" + arch + extension
			from := filepath.Join(b.work, filepath.FromSlash(to))
			if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(from, other, 0o644); err != nil {
				return nil, err
			}
			entries = append(entries, entry{to, from, 0o644})
		}
	}
	return entries, nil
}

// stack writes the archive of what is deployed.
func (b *releaser) stack(ctx context.Context) ([]string, error) {
	entries := []entry{{"LICENSE", filepath.Join(b.root, "LICENSE"), 0o644}}
	templates, err := b.templates()
	if err != nil {
		return nil, err
	}
	entries = append(entries, templates...)
	for _, arch := range b.Architectures {
		for _, function := range Functions {
			name := arch + "/" + function + ".zip"
			entries = append(entries, entry{name, filepath.Join(b.functions, filepath.FromSlash(name)), 0o644})
		}
	}
	name := fmt.Sprintf("%s_%s_stack", program, b.Version)
	file := filepath.Join(b.Folder, name+".tar.gz")
	return []string{file}, archive(file, name, entries)
}

// folder returns the files below a folder, under another name. None is an error.
func folder(from, name string) ([]entry, error) {
	var entries []entry
	err := fs.WalkDir(os.DirFS(from), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			entries = append(entries, entry{path.Join(name, p), filepath.Join(from, filepath.FromSlash(p)), 0o644})
		}
		return err
	})
	if err == nil && len(entries) == 0 {
		err = fmt.Errorf("%s: %w: no file in it", from, fs.ErrNotExist)
	}
	return entries, err
}

// writeChecksums writes the sha256 of each file.
func writeChecksums(path string, files []string) error {
	var b bytes.Buffer
	for _, file := range slices.Sorted(slices.Values(files)) {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", h.Sum(nil), filepath.Base(file))
	}
	return replace(path, func(partial string) error { return os.WriteFile(partial, b.Bytes(), 0o644) })
}

// Describe returns the version of the sources as git knows it: that of the tag
// (v1.2.3) without its v, with what came since then; without a tag the
// project's, with the commit. Outside of a repository it is an error.
func Describe(ctx context.Context) (string, error) {
	out, err := output(ctx, "git", "describe", "--tags", "--match", "v[0-9]*", "--dirty")
	if err == nil {
		return strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), nil
	}
	out, err = output(ctx, "git", "describe", "--always", "--exclude", "*", "--dirty")
	if err != nil {
		return "", fmt.Errorf("asking git for the version: %w", err)
	}
	return version.Version + "-" + strings.TrimSpace(string(out)), nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := output(ctx, "go", "list", "-m", "-f", "{{.Dir}}", program)
	if err != nil {
		return "", fmt.Errorf("looking for the module's folder: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// output runs a command and returns what it prints; what it complains of is part
// of the error.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	return out, nil
}
