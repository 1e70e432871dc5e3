package filters

// MatchesRepository reports whether an image of the repository can be chosen,
// by some tag.
func (f Filters) MatchesRepository(repository string) bool {
	return len(f.TagPatterns(repository)) > 0
}

// TagPatterns returns the tag parts of the filters that choose images of the
// repository, in their order.
func (f Filters) TagPatterns(repository string) []string {
	var patterns []string
	for _, one := range f.list {
		if !one.exclude && match(one.repository, repository) {
			patterns = append(patterns, one.tag)
		}
	}
	return patterns
}

// Unused returns the filters that match none of the repositories, as the list
// gives them.
func (f Filters) Unused(repositories []string) []string {
	var unused []string
	for _, one := range f.list {
		used := false
		for _, r := range repositories {
			used = used || match(one.repository, r)
		}
		if !used {
			unused = append(unused, one.text)
		}
	}
	return unused
}
