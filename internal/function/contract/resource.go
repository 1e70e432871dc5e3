package contract

// ResourceType is that of the custom resource.
const ResourceType = "Custom::SociRepositoryArns"

// The properties of the custom resource that its function reads. Others may be there
// to make CloudFormation call again when they change.
const (
	// PropFilters is the list of filters.
	PropFilters = "Filters"

	// PropFilterEnvironment is the environment of the filter function, but for the
	// filters and the generator's ARN.
	PropFilterEnvironment = "FilterEnvironment"

	// PropCode changes with the functions' code. Where these are images, it is the
	// URIs of all of them.
	PropCode = "Code"
)

// The attributes of the custom resource: what its function answers.
const (
	AttrARNs   = "RepositoryArns"
	AttrDigest = "RepositoryArnsDigest" // of AttrARNs, and of AttrOwnARNs

	// The repositories of the functions' own images, if they are images: the ARNs,
	// and the names with commas between them.
	AttrOwnARNs  = "OwnArns"
	AttrOwnNames = "OwnNames"
)
