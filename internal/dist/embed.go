package dist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// withFunctions returns the flags of the go command that put the functions of
// folder, as Build leaves them there, into package embedded. They name a file
// that is written into work.
func withFunctions(root, folder, work string, architectures []string) ([]string, error) {
	replace := map[string]string{}
	for _, arch := range architectures {
		for _, function := range Functions {
			from, err := filepath.Abs(filepath.Join(folder, arch, function+".zip"))
			if err != nil {
				return nil, err
			}
			replace[filepath.Join(root, "internal", "embedded", "functions", arch, function+".zip")] = from
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(work, "overlay.json")
	return []string{"-tags=embed_functions", "-overlay=" + overlay}, os.WriteFile(overlay, text, 0o644)
}

// Install builds the functions and installs the command line with them in it,
// where go install does. It calls the go command, with the working directory
// inside this module.
func Install(ctx context.Context) (err error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", program+"-install-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := Build(ctx, work, Architectures, func(string) {}); err != nil {
		return err
	}
	flags, err := withFunctions(root, work, work, Architectures)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"install", "-trimpath"}, flags...), commandPackage)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("installing %s: %w\n%s", program, err, out)
	}
	return nil
}
