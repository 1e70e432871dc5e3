// Package guided asks for the settings of a deployment on a terminal, and shows
// what they mean in the account: which images the filters choose, what that
// costs, and which permissions are used. It changes nothing.
//
// Start with [Ask]; [Terminal] also serves other questions.
package guided

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"soci-index-builder/internal/awsconfig/awserror"
	"soci-index-builder/internal/deploy/settings"
	"soci-index-builder/internal/deployed"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/filters"
	"soci-index-builder/internal/inventory"
)

// DefaultStack is the name that is proposed for a stack.
const DefaultStack = "soci-index-builder"

// Account is where the stack will be, as far as that is known once stack and region
// are.
type Account struct {
	ID, Partition string
	Images        inventory.Source // ECR of the account and region; nil shows no preview

	// Stack has the settings of the deployed stack, and Parameters its
	// parameters; both are empty when there is none.
	Stack      settings.Given
	Parameters map[string]string
	Status     string // of the stack, "UPDATE_COMPLETE"; empty when there is none
}

// Options are what Ask works with.
type Options struct {
	Terminal *Terminal
	Given    settings.Given // of flags and the file, as Flags.Load returns them
	Region   string         // that is proposed: of the AWS configuration; may be empty

	// Look finds out about account and stack. Its error ends the questions.
	Look func(ctx context.Context, stack, region string) (Account, error)

	// SaveTo names file and environment, as Environment.String does. Empty does
	// not ask whether to save.
	SaveTo string

	Now func() time.Time // the default is time.Now
}

// Answers are what Ask found out.
type Answers struct {
	Given   settings.Given // with the answers, to be resolved with Account.Stack
	Account Account
	Save    bool
}

// Require returns an error, which names the flag, for what must be known to
// deploy and was not given. It is for where there is no terminal to ask on.
func Require(g settings.Given) error {
	if g.Stack == "" {
		return missing("--stack")
	}
	return nil
}

// errMissing is settings.ErrInvalid.
type errMissing struct{ text string }

func (e errMissing) Error() string        { return e.text }
func (e errMissing) Is(target error) bool { return target == settings.ErrInvalid }

func missing(flag string) error {
	return errMissing{flag + " is required, by a flag or in " + settings.FileName +
		": there is no terminal on which to ask for it"}
}

// interview is one run of Ask.
type interview struct {
	Options

	*Terminal
	ctx     context.Context
	answers settings.Settings
	account Account
	listed  *listed // nil when there is no preview
	chosen  *chosen
}

// Ask asks for everything that flags have not said, each with its default, and
// shows what it means. Without a terminal it returns the error of Require. It
// writes nothing but to the terminal, so that Ctrl-C and the end of the input,
// which matches ErrEnded, leave everything as it was.
func Ask(ctx context.Context, o Options) (Answers, error) {
	if o.Terminal == nil {
		if err := Require(o.Given); err != nil {
			return Answers{}, err
		}
		return Answers{}, errMissing{"--guided needs a terminal, and there is none: give the settings by flags or in " +
			settings.FileName}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &interview{Options: o, Terminal: o.Terminal, ctx: ctx}
	i.Say("An empty line takes what stands in brackets, - leaves a value empty. " +
		"The stack is not changed before you agree.")
	for _, ask := range []func() error{i.where, i.pack, i.filters, i.parameters, i.others, i.meaning} {
		if err := ask(); err != nil {
			return Answers{}, err
		}
	}
	out := Answers{Given: i.merged(), Account: i.account}
	if i.SaveTo != "" {
		i.Printf("\n")
		save, err := i.Confirm(ctx, "Save this to "+i.SaveTo+"?", true)
		if err != nil {
			return Answers{}, err
		}
		out.Save = save
	}
	return out, nil
}

// merged are the settings so far. Answers stand below flags, which are not asked
// for, and above the file, whose values are the defaults.
func (i *interview) merged() settings.Given {
	return settings.Merge(i.Given.Only(settings.Flag), settings.Of(settings.Answer, i.answers), i.Given)
}

// byFlag reports whether a flag gives the setting, so that it is not asked for.
func (i *interview) byFlag(name string) bool {
	o, ok := i.Given.Origin(name)
	return ok && o.Kind == settings.Flag
}

// where asks for stack and region, and finds out what is there.
func (i *interview) where() error {
	var err error
	if !i.byFlag("stack") {
		i.answers.Stack, err = i.Terminal.Ask(i.ctx, Question{
			Text: "Stack name", Help: "One stack for each account and region that has repositories.",
			Default: or(i.Given.Stack, DefaultStack), Check: settings.CheckText("stack"),
		})
		if err != nil {
			return err
		}
	}
	if !i.byFlag("region") {
		i.answers.Region, err = i.Terminal.Ask(i.ctx, Question{
			Text: "Region", Default: or(i.Given.Region, i.Region), Check: settings.CheckText("region"),
		})
		if err != nil {
			return err
		}
	}
	g := i.merged()
	if i.account, err = i.Look(i.ctx, g.Stack, g.Region); err != nil {
		return err
	}
	i.Printf("\n")
	if i.account.Status == "" {
		i.Say("Account %s, region %s: the stack %s will be created.", i.account.ID, g.Region, g.Stack)
	} else {
		i.Say("Account %s, region %s: the stack %s is there (%s); what it has stands in brackets.", i.account.ID,
			g.Region,
			g.Stack, i.account.Status)
	}
	return nil
}

// pack asks for the package.
func (i *interview) pack() error {
	if i.byFlag("package") {
		return nil
	}
	byDefault := or(string(settings.Merge(i.Given, i.account.Stack).Package), string(embedded.Zip))
	fits := func(p embedded.Package) error {
		i.answers.Package = p
		_, err := settings.Resolve(i.merged(), i.account.Stack)
		return err
	}
	if err := fits(embedded.Zip); err != nil && fits(embedded.Image) != nil {
		return err // no answer would do
	}
	answer, err := i.Terminal.Ask(i.ctx, Question{
		Text: "Package",
		Help: "zip: the functions' code goes into an S3 bucket, made if you have named none.\n" +
			"image: it goes into ECR repositories, as container images; no bucket.",
		Default: byDefault,
		Check: func(s string) error {
			if err := settings.CheckText("package")(s); err != nil {
				return err
			}
			return fits(embedded.Package(s))
		},
	})
	i.answers.Package = embedded.Package(answer)
	return err
}

// lookFor is how long the list of repositories may take.
const lookFor = time.Minute

// look lists the account's repositories once.
func (i *interview) look() error {
	if i.listed != nil || i.account.Images == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(i.ctx, lookFor)
	defer cancel()
	i.Printf("Looking at the repositories of the account ...")
	l := list(ctx, i.account.Images, func(n int) {
		if n%25 == 0 {
			i.Printf(" %d", n)
		}
	})
	i.Printf("\n")
	switch {
	case i.ctx.Err() != nil:
		return i.ctx.Err()
	case l.err == nil:
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && len(l.repositories) > 0:
		i.Say("  There was time only for the first %d: those are shown.", len(l.repositories))
	default:
		i.Say("  They cannot be listed, so there is no preview: %s", oneLine(awserror.Explain(l.err)))
		i.account.Images = nil
		return nil
	}
	i.listed = l
	return nil
}

// filters asks for filters until the user accepts the preview.
func (i *interview) filters() error {
	byFlag := i.byFlag("filters")
	byDefault := i.merged().Parameter(deployed.ParamFilters, i.account.Parameters)
	help := "Which images are indexed: comma-separated repository:tag. * is any run of characters, ! excludes, and " +
		"the last filter that matches decides: prod/*:*,!*:*-debug"
	for {
		if !byFlag {
			answer, err := i.Terminal.Ask(i.ctx, Question{
				Text: "Filters", Help: help, Default: byDefault, Check: settings.CheckText("filters"),
			})
			if err != nil {
				return err
			}
			i.answers.Filters = answer
		}
		if err := i.look(); err != nil || i.listed == nil {
			return err
		}
		rules, err := i.rules()
		if err != nil {
			return err
		}
		if i.chosen, err = i.listed.choose(i.ctx, rules, i.Now()); err != nil {
			return err
		}
		i.showChoice(i.listed, i.chosen)
		if byFlag {
			return nil
		}
		good := i.chosen.images > 0 || len(i.listed.repositories) == 0
		if yes, err := i.Confirm(i.ctx, "Keep these filters?", good); yes || err != nil {
			return err
		}
		byDefault, help = i.answers.Filters, ""
	}
}

// rules are those by which the filter function would decide.
func (i *interview) rules() (filters.Rules, error) {
	g := i.merged()
	f, err := filters.Parse(g.Parameter(deployed.ParamFilters, i.account.Parameters))
	if err != nil {
		return filters.Rules{}, err
	}
	return filters.Rules{
		Filters:   f,
		TagSuffix: g.Parameter(deployed.ParamTagSuffix, i.account.Parameters),
		Untagged:  g.Parameter(deployed.ParamIndexUntagged, i.account.Parameters) == "true",
	}, nil
}

// matter are the parameters that are asked for one by one.
var matter = []string{
	deployed.ParamIndexVersion, deployed.ParamGeneratorMemorySize, deployed.ParamAlarmTopic,
	deployed.ParamLogRetentionDays,
	deployed.ParamPermissionsBoundary,
}

// parameters asks for those that matter. Unchanged values are not saved: a default
// that is not written down can change with the template.
func (i *interview) parameters() error {
	all := settings.Parameters(i.merged().Package)
	for _, name := range matter {
		at := slices.IndexFunc(all, func(p settings.Parameter) bool { return p.Name == name })
		if at < 0 || i.byFlag("parameter."+name) {
			continue
		}
		p := &all[at]
		byDefault := i.merged().Parameter(name, i.account.Parameters)
		answer, err := i.Terminal.Ask(i.ctx, Question{
			Text: name, Help: p.Description + "\n" + upper(p.Constraint()) + ".", Default: byDefault,
			Check: prefixed(p.Check),
		})
		if err != nil {
			return err
		}
		if answer != byDefault {
			i.set(name, answer)
		}
	}
	return nil
}

func prefixed(check func(string) error) func(string) error {
	return func(s string) error {
		if err := check(s); err != nil {
			return fmt.Errorf("it %w", err)
		}
		return nil
	}
}

func (i *interview) set(name, value string) {
	if i.answers.Parameters == nil {
		i.answers.Parameters = map[string]string{}
	}
	i.answers.Parameters[name] = value
}

// others takes further parameters, until an empty line.
func (i *interview) others() error {
	var names []string
	for _, p := range settings.Parameters(i.merged().Package) {
		if p.Flag() == "--parameter" && !slices.Contains(matter, p.Name) {
			names = append(names, p.Name)
		}
	}
	help := "Others, which stay as they are: " + strings.Join(names, ", ") + "."
	for {
		answer, err := i.Terminal.Ask(i.ctx, Question{
			Text: "Another parameter, as NAME=VALUE (an empty line ends this)", Help: help,
			Check: func(s string) error {
				if s == "" {
					return nil
				}
				name, value, ok := strings.Cut(s, "=")
				if !ok {
					return errors.New("must be NAME=VALUE")
				}
				if i.byFlag("parameter." + name) {
					return fmt.Errorf("%s is given by --parameter", name)
				}
				return settings.CheckEntry("parameter", name, value)
			},
		})
		if err != nil || answer == "" {
			return err
		}
		name, value, _ := strings.Cut(answer, "=")
		i.set(name, value)
		help = ""
	}
}

// meaning shows the cost of the answers and the permissions that they need.
func (i *interview) meaning() error {
	g := i.merged()
	if i.listed != nil {
		rules, err := i.rules() // other parameters may have changed them
		if err != nil {
			return err
		}
		if i.chosen, err = i.listed.choose(i.ctx, rules, i.Now()); err != nil {
			return err
		}
		memory, err := strconv.Atoi(g.Parameter(deployed.ParamGeneratorMemorySize, i.account.Parameters))
		if err != nil {
			return fmt.Errorf("parameter %s: %w", deployed.ParamGeneratorMemorySize, err)
		}
		i.showCost(i.chosen, memory, settings.Merge(g, i.account.Stack).Architecture,
			func(name string) string { return g.Parameter(name, i.account.Parameters) })
	}
	i.showRights(i.account.parts(settings.Merge(g, i.account.Stack).Settings, g.Region))
	// The answers must fit together before anybody saves them.
	_, err := settings.Resolve(g, i.account.Stack)
	return err
}

func or(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
