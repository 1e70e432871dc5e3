package dist

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"soci-index-builder/internal/deploy/lambdaimage"
)

var machines = map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}

// Other platforms than this machine's are compiled with -all only, which
// make dist-test gives: they take minutes and gigabytes of build cache.
var all = flag.Bool("all", false, "build for every platform that is released or deployed, and install")

// architectures are those that the functions are built for.
func architectures() []string {
	if *all {
		return Architectures
	}
	return []string{runtime.GOARCH}
}

func TestBuild(t *testing.T) {
	folder := t.TempDir()
	var files []string
	err := Build(t.Context(), folder, architectures(), func(path string) { files = append(files, path) })
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, arch := range architectures() {
		for _, function := range Functions {
			want = append(want, filepath.Join(arch, function, "bootstrap"), filepath.Join(arch, function+".zip"))
		}
	}
	slices.Sort(want)
	if got := tree(t, folder); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	if len(files) != len(want) {
		t.Errorf("%d files were reported, want %d", len(files), len(want))
	}
	for _, arch := range architectures() {
		for _, function := range Functions {
			bootstrap := filepath.Join(folder, arch, function, "bootstrap")
			t.Run(arch+"/"+function, func(t *testing.T) {
				checkStatic(t, bootstrap, machines[arch])
				zipped := filepath.Join(folder, arch, function+".zip")
				checkZip(t, zipped, read(t, bootstrap))
				image, err := lambdaimage.New(arch, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/x", read(t, zipped))
				if err != nil {
					t.Fatal(err)
				}
				if err := lambdaimage.Check(image.Descriptor, image.Fetch); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if *all {
		t.Run("install", func(t *testing.T) { checkInstall(t, folder) })
	}
}

// checkInstall holds against what Build left in folder that the command line
// installed has the functions for both architectures, built again, with the same
// bytes.
func checkInstall(t *testing.T, folder string) {
	t.Helper()
	bin := t.TempDir()
	t.Setenv("GOBIN", bin)
	if err := Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, program)
	out, err := exec.CommandContext(t.Context(), path, "--version").Output()
	if want := "with the functions for amd64 and arm64"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("--version is %q, %v, want %q in it", out, err, want)
	}
	installed := read(t, path)
	for _, arch := range Architectures {
		for _, function := range Functions {
			if !bytes.Contains(installed, read(t, filepath.Join(folder, arch, function+".zip"))) {
				t.Errorf("two runs give different bytes for %s/%s", arch, function)
			}
		}
	}
}

func tree(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, filepath.FromSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkStatic fails when the executable needs a loader or a library.
func checkStatic(t *testing.T, path string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Class != elf.ELFCLASS64 || f.Machine != machine || f.Type != elf.ET_EXEC {
		t.Errorf("the executable is %v %v %v, want %v", f.Class, f.Machine, f.Type, machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the executable is not static: it has a %v", p.Type)
		}
	}
	for _, name := range []string{".symtab", ".debug_info", ".zdebug_info"} {
		if f.Section(name) != nil {
			t.Errorf("the executable still has %s", name)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("mode %v, %v: not executable", info.Mode(), err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(read(t, path), []byte(wd)) {
		t.Errorf("the executable names the folder it was built in, %s", wd)
	}
}

func checkZip(t *testing.T, path string, want []byte) {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) != 1 {
		t.Fatalf("the zip file has %d files, want bootstrap alone", len(z.File))
	}
	f := z.File[0]
	if f.Name != "bootstrap" || f.Mode() != 0o755 || f.Modified.UTC().Year() != 1980 {
		t.Errorf("the zip file has %s, mode %v, of %v", f.Name, f.Mode(), f.Modified)
	}
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the zip file's bootstrap is not the one beside it")
	}
}

func TestZipFails(t *testing.T) {
	folder := t.TempDir()
	archive := filepath.Join(folder, "x.zip")
	if err := os.WriteFile(archive, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Zip(filepath.Join(folder, "none"), archive); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v, want fs.ErrNotExist", err)
	}
	if got := tree(t, folder); !slices.Equal(got, []string{"x.zip"}) || string(read(t, archive)) != "before" {
		t.Errorf("a failed run leaves %q", got)
	}
}

func TestBootstrapFails(t *testing.T) {
	folder := t.TempDir()
	err := Bootstrap(t.Context(), "none", "linux", "arm64", filepath.Join(folder, "bootstrap"))
	if err == nil {
		t.Fatal("a function that does not exist was built")
	}
	if got := tree(t, folder); len(got) != 0 {
		t.Errorf("a failed run leaves %q", got)
	}
}
