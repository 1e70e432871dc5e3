package logquery

import (
	"strings"

	"soci-index-builder/internal/function/messages"
	"soci-index-builder/pkg/soci"
)

var (
	bothGroups = []Group{Filter, Generator}
	allGroups  = []Group{Filter, Generator, Repositories}
)

// Conventions: a column that ends in Time has times, and aliases are no words
// of the query language. Fields that are words of it, or have hyphens, stand
// in backticks.
var queries = []Query{
	{
		Name:     "why",
		Question: "Why was this image not indexed?",
		Note: "Each event of the image ends with one line of the filter and, when that passed it on, one of the " +
			"generator; [Messages](#messages) and [Outcomes](#outcomes) say what they mean. If there is no line, no " +
			"event arrived: check that the rule is enabled, and that the image is in the stack's registry and region.",
		Nothing: "no event of this image came within that time: was it pushed then, to the registry and region of " +
			"the stack, and is the stack's rule enabled?",
		Groups: bothGroups,
		Image:  RequiredImage,
		stages: []string{
			`filter ispresent(message) and message != "trying again"`,
			"fields @timestamp, message, platform, outcome, reason, `filter`, sociOutcome, sociReason, layer, hint, " +
				"class, permission, error",
			"sort @timestamp asc",
		},
		Columns: []Column{{"@timestamp", Time}, {"message", Text}, {"platform", Text}, {"outcome", Text},
			{"reason", Text},
			{"filter", Text},
			{"sociOutcome", Text}, {"sociReason", Text}, {"layer", Text}, {"hint", Text}, {"class", Text},
			{"permission", Text},
			{"error", Text}},
	},
	{
		Name:     "failures",
		Question: "What failed?",
		Note: "Lambda retries `transient` failures; events that failed for good are in the failure queue. " +
			"`why` shows whether an image has got its SOCI index since. Invocations that Lambda ended are under " +
			"`crashes`.",
		Nothing: "nothing failed",
		Groups:  allGroups,
		Image:   OptionalImage,
		stages: []string{
			`filter level = "ERROR"`,
			"stats count(*) as times, max(@timestamp) as lastTime, latest(error) as example by message, class, " +
				"reason, repository",
			"sort times desc",
		},
		Columns: []Column{{"times", Number}, {"lastTime", Time}, {"message", Text}, {"class", Text}, {"reason", Text},
			{"repository", Text}, {"example", Text}},
	},
	{
		Name:     "decisions",
		Question: "What became of the pushes?",
		Note: "One line for each event in the filter, and one for each in the generator; an image that was handed " +
			"over has another when its steps end. `example` is the repository of the latest.",
		Nothing: "no event came",
		Groups:  bothGroups,
		Image:   OptionalImage,
		stages: []string{
			`filter message in ["` + strings.Join(messages.Decisions(), `", "`) + `"]`,
			"stats count(*) as events, max(@timestamp) as lastTime, latest(repository) as example by message, outcome",
			"sort events desc",
		},
		Columns: []Column{{"events", Number}, {"lastTime", Time}, {"message", Text}, {"outcome", Text},
			{"example", Text}},
	},
	{
		Name:     "filters",
		Question: "Which filter decided?",
		Note: "`image not chosen` without a filter means that none matches. `soci-index-builder filters test` " +
			"answers this for images that are not pushed yet.",
		Groups: []Group{Filter},
		Image:  OptionalImage,
		stages: []string{
			`filter message in ["` + messages.PassedOn + `", "` + messages.NotChosen + `"]`,
			"stats count(*) as images, max(@timestamp) as lastTime, latest(repository) as exampleRepository, " +
				"latest(tag) as exampleTag by message, `filter`",
			"sort images desc",
		},
		Columns: []Column{{"images", Number}, {"lastTime", Time}, {"message", Text}, {"filter", Text},
			{"exampleRepository", Text}, {"exampleTag", Text}},
	},
	{
		Name:     "indexed",
		Question: "What was indexed?",
		Note:     "`readMiB` counts compressed bytes of layers; it is 0 if every layer had been indexed before.",
		Groups:   []Group{Generator},
		Image:    OptionalImage,
		stages: []string{
			`filter message = "` + messages.Finished + `" and outcome = "indexed"`,
			"fields @timestamp, repository, tag, digest, sociTag, sociOutcome, manifests, bytesRead / 1048576 as " +
				"readMiB, bytesPushed / 1048576 as pushedMiB, seconds, pushToIndexSeconds",
			"sort @timestamp desc",
		},
		limit: 100,
		Columns: []Column{{"@timestamp", Time}, {"repository", Text}, {"tag", Text}, {"digest", Text},
			{"sociTag", Text},
			{"sociOutcome", Text}, {"manifests", Number},
			{"readMiB", Number}, {"pushedMiB", Number}, {"seconds", Number}, {"pushToIndexSeconds", Number}},
	},
	{
		Name:     "large-images",
		Question: "Which images were handed over to the state machine, and how far are they?",
		Note: "`image planned` and `layer failed` are of the steps; `step failed` is tried again, unless it failed " +
			"for good (class permanent). `why` for one image shows each layer, and its end.",
		Nothing: "no image was handed over",
		Groups:  []Group{Generator},
		Image:   OptionalImage,
		stages: []string{
			`filter message in ["` + messages.HandedOver + `", "image planned", "layer failed", "step failed"]`,
			"fields @timestamp, message, repository, tag, execution, layers, bytes, layer, class, reason, error",
			"sort @timestamp desc",
		},
		Columns: []Column{{"@timestamp", Time}, {"message", Text}, {"repository", Text}, {"tag", Text},
			{"execution", Text},
			{"layers", Number}, {"bytes", Number}, {"layer", Text}, {"class", Text}, {"reason", Text}, {"error", Text}},
	},
	{
		Name:     "small-images",
		Question: "Which images have no layer large enough?",
		Note: "Layers below `MinLayerSizeMiB` (10) are downloaded whole, and an image without larger ones has no " +
			"SOCI index. " +
			"That is not a failure: its suffixed tag is made anyway, unless `TagUnindexedImages` is false.",
		Groups: []Group{Generator},
		Image:  OptionalImage,
		stages: []string{
			"filter message = \"manifest finished\" and outcome = \"no-layer-to-index\" and " +
				"ispresent(`layersSkipped.below-min-layer-size`)",
			"stats count(*) as manifests, max(`layersSkipped.below-min-layer-size`) as smallLayers, max(@timestamp) " +
				"as lastTime by repository, tag",
			"sort lastTime desc",
		},
		Columns: []Column{{"manifests", Number}, {"smallLayers", Number}, {"lastTime", Time}, {"repository", Text},
			{"tag", Text}},
	},
	{
		Name:     "zstd",
		Question: "What was skipped because of zstd?",
		Note:     "Layers that are compressed with zstd cannot be indexed. Instead, " + soci.SkipZstd.Fix() + ".",
		Groups:   []Group{Generator},
		Image:    OptionalImage,
		stages: []string{
			`filter message = "layer skipped" and reason = "zstd"`,
			"stats count_distinct(layer) as layers, sum(size) / 1048576 as MiB, max(@timestamp) as lastTime by " +
				"repository, tag",
			"sort MiB desc",
		},
		Columns: []Column{{"layers", Number}, {"MiB", Number}, {"lastTime", Time}, {"repository", Text}, {"tag", Text}},
	},
	{
		Name:     "skipped-layers",
		Question: "Which layers could not be indexed, and why?",
		Note: "Small layers are not included: their lines are at DEBUG. `hint` says what the image's author can " +
			"do.",
		Groups: []Group{Generator},
		Image:  OptionalImage,
		stages: []string{
			`filter message = "layer skipped" and level = "WARN"`,
			"stats count_distinct(layer) as layers, sum(size) / 1048576 as MiB, max(@timestamp) as lastTime, " +
				"latest(detail) as example, latest(hint) as whatToDo by reason, repository",
			"sort MiB desc",
		},
		Columns: []Column{{"layers", Number}, {"MiB", Number}, {"lastTime", Time}, {"reason", Text},
			{"repository", Text},
			{"example", Text}, {"whatToDo", Text}},
	},
	{
		Name:     "superseded",
		Question: "Which images lost their tag to a newer one before they were indexed?",
		Note:     "The suffixed tag was not moved to them. The newer image has its own event.",
		Groups:   []Group{Generator},
		Image:    OptionalImage,
		stages: []string{
			`filter message = "` + messages.Finished + `" and (outcome = "superseded" or sociOutcome = "superseded")`,
			"fields @timestamp, repository, tag, digest, sociTag, sociReason",
			"sort @timestamp desc",
		},
		Columns: []Column{{"@timestamp", Time}, {"repository", Text}, {"tag", Text}, {"digest", Text},
			{"sociTag", Text},
			{"sociReason", Text}},
	},
	{
		Name:     "permissions",
		Question: "Which permissions does a role lack?",
		Note: "The filters decide which repositories the generator's role may use; anything else that it lacks is " +
			"denied by a repository policy, a permissions boundary, an organization's policy or a KMS key.",
		Nothing: "nothing was denied",
		Groups:  allGroups,
		Image:   OptionalImage,
		stages: []string{
			`filter reason = "access-denied"`,
			"stats count(*) as times, max(@timestamp) as lastTime, latest(error) as example by permission, repository",
			"sort times desc",
		},
		Columns: []Column{{"times", Number}, {"lastTime", Time}, {"permission", Text}, {"repository", Text},
			{"example", Text}},
	},
	{
		Name:     "queued",
		Question: "Which events went to the failure queue?",
		Note: "Events that Lambda itself moves there, after its last attempt, have no line `event queued`; " +
			"`failures` lists them as `transient`.",
		Nothing: "no function sent an event to the failure queue",
		Groups:  bothGroups,
		Image:   OptionalImage,
		stages: []string{
			`filter message in ["event queued", "event not queued"]`,
			"fields @timestamp, message, repository, tag, digest, reason, error, requestId",
			"sort @timestamp desc",
		},
		Columns: []Column{{"@timestamp", Time}, {"message", Text}, {"repository", Text}, {"tag", Text},
			{"digest", Text},
			{"reason", Text}, {"error", Text}, {"requestId", Text}},
	},
	{
		Name:     "retries",
		Question: "Which requests did the registry throttle or fail?",
		Note: "Status 429 is throttling; without a status the connection failed. Requests that failed even after the " +
			"last attempt are under `failures`.",
		Nothing: "no request had to be repeated",
		Groups:  []Group{Generator},
		Image:   NoImage,
		stages: []string{
			`filter message = "trying again"`,
			"stats count(*) as times, max(attempt) as attempts, max(@timestamp) as lastTime, latest(error) as " +
				"example by op, status, repository",
			"sort times desc",
		},
		Columns: []Column{{"times", Number}, {"attempts", Number}, {"lastTime", Time}, {"op", Text}, {"status", Text},
			{"repository", Text}, {"example", Text}},
	},
	{
		Name:     "slowest",
		Question: "What was slowest?",
		Groups:   []Group{Generator},
		Image:    OptionalImage,
		metrics:  true,
		stages: []string{
			`filter Function = "indexgen" and ispresent(Duration)`,
			"fields @timestamp, Duration as seconds, BytesRead / 1048576 as readMiB, BytesRead / 1048576 / Duration " +
				"as MiBPerSecond, PeakMemory / 1048576 as peakMiB, Repository, Tag",
			"sort seconds desc",
		},
		limit: 20,
		Columns: []Column{{"@timestamp", Time}, {"seconds", Number}, {"readMiB", Number}, {"MiBPerSecond", Number},
			{"peakMiB", Number},
			{"Repository", Text}, {"Tag", Text}},
	},
	{
		Name:     "crashes",
		Question: "Which invocations did Lambda count as failed?",
		Note: "`timeout`: the function was ended. `error` and `failure` with an `errorType` that begins with " +
			"`Runtime.`: it crashed, usually because it ran out of memory. Any other `errorType`: the function " +
			"itself reported a failure that Lambda retries.",
		Nothing: "all invocations succeeded",
		Groups:  allGroups,
		Image:   NoImage,
		stages: []string{
			`filter type = "platform.report" and record.status in ["timeout", "failure", "error"]`,
			"fields @timestamp, record.status as status, record.errorType as errorType, record.metrics.durationMs / " +
				"1000 as seconds, record.metrics.maxMemoryUsedMB as usedMB, record.metrics.memorySizeMB as memoryMB, " +
				"record.requestId as requestId, @log",
			"sort @timestamp desc",
		},
		Columns: []Column{{"@timestamp", Time}, {"status", Text}, {"errorType", Text}, {"seconds", Number},
			{"usedMB", Number}, {"memoryMB", Number}, {"requestId", Text}, {"@log", Text}},
	},
	{
		Name:     "limits",
		Question: "Which invocations came close to a limit?",
		Note: "More than 12 of the generator's 15 minutes, or 90 % of its memory. `GeneratorMemorySize` gives it " +
			"more of both: processors grow with memory. The image is in the lines with this `requestId`.",
		Nothing: "no invocation came close to a limit",
		Groups:  []Group{Generator},
		Image:   NoImage,
		stages: []string{
			`filter type = "platform.report" and (record.metrics.durationMs > 720000 or record.metrics.maxMemoryUsedMB > 0.9 * record.metrics.memorySizeMB)`,
			"fields @timestamp, record.metrics.durationMs / 1000 as seconds, record.metrics.maxMemoryUsedMB as " +
				"usedMB, record.metrics.memorySizeMB as memoryMB, record.requestId as requestId",
			"sort seconds desc",
		},
		Columns: []Column{{"@timestamp", Time}, {"seconds", Number}, {"usedMB", Number}, {"memoryMB", Number},
			{"requestId", Text}},
	},
	{
		Name:     "capacity",
		Question: "How much of their time and memory do the functions use?",
		Groups:   bothGroups,
		Image:    NoImage,
		stages: []string{
			`filter type = "platform.report"`,
			"stats count(*) as invocations, pct(record.metrics.durationMs, 50) / 1000 as p50Seconds, " +
				"pct(record.metrics.durationMs, 99) / 1000 as p99Seconds, " +
				"max(record.metrics.durationMs) / 1000 as maxSeconds, max(record.metrics.maxMemoryUsedMB) as usedMB, " +
				"max(record.metrics.memorySizeMB) as memoryMB by @log",
			"sort @log asc",
		},
		Columns: []Column{{"@log", Text}, {"invocations", Number}, {"p50Seconds", Number}, {"p99Seconds", Number},
			{"maxSeconds", Number}, {"usedMB", Number}, {"memoryMB", Number}},
	},
	{
		Name:     "cold-starts",
		Question: "How many cold starts were there, and how long did they take?",
		Groups:   bothGroups,
		Image:    NoImage,
		stages: []string{
			`filter type = "platform.report" and ispresent(record.metrics.initDurationMs)`,
			"stats count(*) as starts, avg(record.metrics.initDurationMs) as avgMs, " +
				"pct(record.metrics.initDurationMs, 90) as " +
				"p90Ms, max(record.metrics.initDurationMs) as maxMs by @log",
			"sort @log asc",
		},
		Columns: []Column{{"@log", Text}, {"starts", Number}, {"avgMs", Number}, {"p90Ms", Number}, {"maxMs", Number}},
	},
	{
		Name:     "cost",
		Question: "What did the functions cost?",
		Note: "`GBSeconds` times the price of a GB-second in your region and for arm64 or x86-64, plus `invocations` " +
			"times the price of a request, is what Lambda bills. Log storage, queue and events cost extra.",
		Groups: allGroups,
		Image:  NoImage,
		stages: []string{
			`filter type = "platform.report"`,
			"stats count(*) as invocations, sum(record.metrics.billedDurationMs) / 1000 as billedSeconds, " +
				"sum(record.metrics.billedDurationMs * record.metrics.memorySizeMB) / 1024000 as GBSeconds by @log",
			"sort GBSeconds desc",
		},
		Columns: []Column{{"@log", Text}, {"invocations", Number}, {"billedSeconds", Number}, {"GBSeconds", Number}},
	},
	{
		Name:     "repositories",
		Question: "Which repositories did the filters give the generator, and was a filter refused?",
		Note:     "`@message` has the ARNs: of the latest line, those that the generator's role has now.",
		Nothing:  "the stack was neither created nor updated within that time: ask for longer with --since",
		Groups:   []Group{Repositories},
		Image:    NoImage,
		stages: []string{
			`filter message in ["repositories named", "filters refused", "response not sent", "resource deleted"]`,
			"fields @timestamp, requestType, message, error, @message",
			"sort @timestamp desc",
		},
		Columns: []Column{{"@timestamp", Time}, {"requestType", Text}, {"message", Text}, {"error", Text},
			{"@message", Text}},
	},
}
