//go:build !race

package corelane

const raceBuild = false
