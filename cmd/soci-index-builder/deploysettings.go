package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/spf13/cobra"

	"soci-index-builder/internal/awsconfig"
	"soci-index-builder/internal/deploy"
	"soci-index-builder/internal/deploy/guided"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deploy/target"
	"soci-index-builder/internal/inventory"
)

// accountLoader finds the configuration of AWS once, so that nobody is asked
// for a code twice.
type accountLoader struct {
	cmd *cobra.Command

	profile string
	cfg     aws.Config
	loaded  bool
}

// load returns the configuration for region and profile of the settings.
func (a *accountLoader) load(g settings.Given) (aws.Config, error) {
	if !a.loaded || a.profile != g.Profile {
		from := awsFlags{profile: g.Profile, region: g.Region}
		cfg, err := from.load(a.cmd)
		if err != nil {
			return cfg, err
		}
		a.cfg, a.profile, a.loaded = cfg, g.Profile, true
	}
	cfg := a.cfg.Copy()
	if g.Region != "" {
		cfg.Region = g.Region
	}
	return cfg, nil
}

// decide returns the settings: of flags and file, and of answers where somebody
// is to be asked.
func (o *deployOptions) decide(cmd *cobra.Command, terminal *guided.Terminal) (settings.Given, *settings.Environment,
	*accountLoader, error) {
	account := &accountLoader{cmd: cmd}
	given, env, err := o.settings.Load(o.save || o.guided)
	if err == nil {
		given, env, err = o.byVariables(cmd, given, env)
	}
	if err != nil {
		return given, nil, nil, err
	}
	ask, err := o.asks(cmd, terminal, given, env, account)
	if err != nil {
		return given, nil, nil, err
	}
	if !ask {
		if err = guided.Require(given); err != nil && terminal != nil {
			err = usageErrorf("%s deploy: --stack is required, by a flag or in %s; --guided asks for it", programName,
				settings.FileName)
		}
		return given, env, account, err
	}
	answers, err := o.interview(cmd, terminal, given, env, account)
	if err != nil {
		return given, nil, nil, err
	}
	o.save = o.save || answers.Save
	return answers.Given, env, account, nil
}

// byVariables adds stack and region as the environment variables say. One that
// the settings file contradicts is an error: its other settings are for the stack
// that it names.
func (o *deployOptions) byVariables(cmd *cobra.Command, given settings.Given,
	env *settings.Environment) (settings.Given,
	*settings.Environment, error) {
	again := false
	for _, v := range []struct{ flag, variable, is string }{
		{"stack", stackVariable, given.Stack}, {"region", regionVariable, given.Region}} {
		value := os.Getenv(v.variable)
		if value == "" || cmd.Flags().Changed(v.flag) || value == v.is {
			continue
		}
		if v.is != "" {
			file, _ := env.File()
			return given, env,
				usageErrorf("%s: %s is %.100q, and %s names %q: give --%s", cmd.CommandPath(), v.variable, value,
					file, v.is, v.flag)
		}
		if err := setFlag(cmd, v.flag, value, v.variable); err != nil {
			return given, env, err
		}
		again = true
	}
	if !again {
		return given, env, nil
	}
	return o.settings.Load(o.save || o.guided)
}

// asks reports whether the settings are asked for: with --guided, on the first
// deploy where nothing was saved, and where the stack is not known.
func (o *deployOptions) asks(cmd *cobra.Command, terminal *guided.Terminal, given settings.Given,
	env *settings.Environment, account *accountLoader) (bool, error) {
	if o.guided {
		return true, nil
	}
	if terminal == nil || o.yes || o.dryRun || o.codeOnly {
		return false, nil
	}
	if _, hasFile := env.File(); given.Stack == "" || hasFile {
		return given.Stack == "", nil
	}
	cfg, err := account.load(given)
	if errors.Is(err, awsconfig.ErrSetting) && given.Region == "" {
		return true, nil // the region is asked for
	}
	if err != nil {
		return false, err
	}
	s, err := target.Status(cmd.Context(), cloudformation.NewFromConfig(cfg), given.Stack)
	return s == nil, err
}

func (o *deployOptions) interview(cmd *cobra.Command, terminal *guided.Terminal, given settings.Given,
	env *settings.Environment, account *accountLoader) (guided.Answers, error) {
	ask := guided.Options{
		Terminal: terminal, Given: given,
		Look: func(ctx context.Context, stack, region string) (guided.Account, error) {
			return o.lookAt(ctx, account, given, stack, region)
		},
	}
	if terminal != nil {
		// Where it is missing, it is asked for.
		if cfg, err := account.load(given); err == nil {
			ask.Region = cfg.Region
		} else if !errors.Is(err, awsconfig.ErrSetting) || given.Region != "" {
			return guided.Answers{}, err
		}
	}
	if !o.save {
		ask.SaveTo = env.String()
	}
	return guided.Ask(cmd.Context(), ask)
}

// lookAt finds out about account and stack.
func (o *deployOptions) lookAt(ctx context.Context, account *accountLoader, given settings.Given, stack,
	region string) (guided.Account, error) {
	given.Region = region
	cfg, err := account.load(given)
	if err != nil {
		return guided.Account{}, err
	}
	t, err := target.Look(ctx, cfg, stack)
	if err != nil {
		return guided.Account{}, explain(err)
	}
	a := guided.Account{ID: t.Account, Partition: t.Partition, Stack: deploy.StackSettings(t),
		Images: inventory.ECR(cfg, inventory.WithClientOptions(ecrEndpoint()...))}
	if s := t.Stack; s != nil {
		if err := s.Mine(); err != nil {
			return guided.Account{}, err
		}
		a.Status = s.Status
		if len(a.Stack.Chosen()) > 0 {
			a.Parameters = s.Parameters
		}
	}
	return a, nil
}

// byFlag reports whether a flag gives a setting.
func byFlag(g settings.Given, name string) bool {
	o, ok := g.Origin(name)
	return ok && o.Kind == settings.Flag
}
