package guided

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"soci-index-builder/internal/backfill"
	"soci-index-builder/internal/doctor/cfntemplate"
	"soci-index-builder/internal/embedded"
	"soci-index-builder/internal/text/bytesize"
	"soci-index-builder/internal/text/plural"
	"soci-index-builder/internal/text/terminal"
)

// shown is how many repositories a preview names.
const shown = 12

// showChoice shows what the filters choose.
func (t *Terminal) showChoice(l *listed, c *chosen) {
	if len(l.repositories) == 0 {
		t.Say("  There is no repository yet: the filters decide on what is pushed later.")
		return
	}
	w := terminal.NewTable(t.out, "  ", false)
	w.Head("REPOSITORY", "CHOSEN", "NOT CHOSEN", "PUSHED IN 30 DAYS")
	var none []string
	rows := 0
	for _, r := range c.choices {
		if r.chosen == 0 {
			none = append(none, r.repository)
			continue
		}
		if rows++; rows <= shown {
			w.Row(r.repository, strconv.Itoa(r.chosen), strconv.Itoa(r.others), strconv.Itoa(r.pushed))
		}
	}
	if rows > 0 {
		_ = w.Flush() // what a terminal cannot show is lost
	}
	if rows > shown {
		t.Say("  and %s", plural.Count(rows-shown, "more repository", "more repositories"))
	}
	if rows == 0 {
		t.Say("  These filters choose nothing of what %s now.", has(len(l.repositories)))
	}
	if len(none) > 0 && rows > 0 {
		more := ""
		if n := len(none) - shown; n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		slices.Sort(none)
		t.Say("  nothing in: %s%s", strings.Join(none[:min(shown, len(none))], ", "), more)
	}
}

func has(repositories int) string {
	if repositories == 1 {
		return "the one repository has"
	}
	return fmt.Sprintf("the %d repositories have", repositories)
}

// priceAlarm is what CloudWatch takes for an alarm and a month, in dollars for
// us-east-1 as of 2026-11.
// https://aws.amazon.com/cloudwatch/pricing/
const priceAlarm = 0.10

// showCost shows what the pushes of the last month would have cost. memory is
// the generator's, in MB; parameter returns the value that the stack will have.
func (t *Terminal) showCost(c *chosen, memory int, architecture string, parameter func(name string) string) {
	dollarsOf := func(cost backfill.Cost) float64 {
		if architecture == "amd64" {
			return cost.DollarsX86
		}
		return cost.DollarsARM
	}
	t.Printf("\nCost, by prices of us-east-1 before free tiers:\n")
	if n := len(c.pushes.Items); n == 0 {
		t.Say("  No chosen image was pushed in the last 30 days, so Lambda would have cost nothing.")
	} else {
		_, size := c.pushes.Total()
		t.Say("  at most $%s a month for Lambda, if pushes go on as in the last 30 days: %s, %s",
			dollars(dollarsOf(c.pushes.Cost(memory))), plural.Count(n, "image"), bytesize.Format(size))
		t.Say("  (layers that were indexed before are not read again: most pushes cost a tenth)")
	}
	if n := alarms(parameter); n > 0 {
		t.Say("  $%s a month for %d alarms; dashboard, metrics and logs by their use",
			dollars(float64(n)*priceAlarm), n)
	}
	if n := len(c.all.Items); n > 0 {
		t.Say("  at most $%s once, if you have the images that are there indexed by backfill: %s",
			dollars(dollarsOf(c.all.Cost(memory))), plural.Count(n, "image"))
	}
}

// alarms is the number of those that a stack with these parameters has.
func alarms(parameter func(name string) string) int {
	text, err := embedded.Template(embedded.Zip, "arm64")
	if err != nil {
		return 0
	}
	template, err := cfntemplate.Parse(text)
	if err != nil {
		return 0
	}
	values := make(map[string]string)
	for name := range template.Parameters {
		values[name] = parameter(name)
	}
	resources, err := template.Resolve(cfntemplate.Values{Parameters: values})
	if err != nil {
		return 0
	}
	n := 0
	for _, r := range resources {
		if r.Type == "AWS::CloudWatch::Alarm" {
			n++
		}
	}
	return n
}

// dollars returns small sums with the digits that tell something.
func dollars(f float64) string {
	if f < 1 {
		return fmt.Sprintf("%.4f", f)
	}
	return fmt.Sprintf("%.2f", f)
}
