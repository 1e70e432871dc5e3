// Infra is the CDK app: it writes the stack as a cloud assembly, which the CDK
// command line deploys, or as a plain CloudFormation template:
//
//	go run ./infra [-o dist/cdk.out] [-code dist] [-architecture arm64] [-stack NAME]
//	go run ./infra -template FILE [-architecture arm64] [-images]
//
// From the CDK command line it takes architecture and stack as context.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"soci-index-builder/infra/stack"
)

//go:generate go run . -template ../templates/soci-index-builder.template.json
//go:generate go run . -images -template ../templates/soci-index-builder-image.template.json

var errNoNode = errors.New("AWS CDK needs Node.js, which is not installed: install a release from https://nodejs.org")

func main() {
	err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "infra:", err)
	}
	stack.Close()
	if err != nil {
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	flags := flag.NewFlagSet("infra", flag.ContinueOnError)
	folder := flags.String("o", "",
		"write the cloud assembly into `folder` (default what the CDK command line asks for)")
	code := flags.String("code", "dist", "`folder` with the functions, as make build leaves it")
	architecture := flags.String("architecture", "",
		"`architecture` of the functions, arm64 or amd64 (default the context architecture, else arm64)")
	name := flags.String("stack", "", "`name` of the stack (default the context stack, else "+stack.DefaultName+")")
	template := flags.String("template", "", "write the plain template into `file`, and no cloud assembly")
	images := flags.Bool("images", false,
		"with -template: the functions are container images, whose URIs are parameters")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: there are only flags", flags.Arg(0))
	}
	if _, err := exec.LookPath("node"); err != nil {
		return errNoNode
	}
	defer func() {
		if v := recover(); v != nil {
			err = failure(v)
		}
	}()
	if *template != "" {
		return writeTemplate(*template, stack.Props{Architecture: stack.Architecture(*architecture), Images: *images})
	}
	if *images {
		return errors.New("-images needs -template: the CDK command line deploys zip files")
	}
	app := stack.NewApp(*folder)
	props := stack.Props{
		StackName:    stack.Context(app, "stack", *name),
		Architecture: stack.Architecture(stack.Context(app, "architecture", *architecture)),
		CodeFolder:   *code,
	}
	if err := props.Check(); err != nil {
		return err
	}
	stack.New(app, stack.ID, props)
	app.Synth(nil)
	return nil
}

// failure makes an error of a panic: construct libraries panic where others
// return an error. Our own bugs stay what they are.
func failure(v any) error {
	if bug, ok := v.(runtime.Error); ok {
		panic(bug)
	}
	return fmt.Errorf("synthesizing the stack: %v", v)
}

// writeTemplate writes the plain template.
func writeTemplate(file string, props stack.Props) error {
	if err := props.Check(); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "infra")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	app := stack.NewApp(folder)
	stack.New(app, stack.ID, props)
	app.Synth(nil)
	text, err := os.ReadFile(filepath.Join(folder, stack.ID+".template.json"))
	if err != nil {
		return err
	}
	if text, err = stack.Emit(text); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
