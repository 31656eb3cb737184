//go:build race

package corelane

const raceBuild = true
