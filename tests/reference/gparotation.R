# Rotations by GPArotation and stats::promax of published loadings, for latentscale's rotate_loadings: Harman's eight
# physical variables, Thurstone's box problem (26 x 3 and 20 x 3), Wansbeek and Meijer's television channels (unrotated
# maximum-likelihood loadings of two factors). Each from the identity and 99 random starts, the best one brought to a
# small gradient; gradient is the norm of the projected gradient there.
# Run: Rscript gparotation.R > gparotation.json   (eight minutes; R 4.2.2, GPArotation 2022.10-2, jsonlite)
suppressPackageStartupMessages({library(GPArotation); library(jsonlite)})
data(Harman, Thurstone, WansbeekMeijer, package = "GPArotation"); set.seed(1)
tv <- unclass(factanal(covmat = NetherlandsTV, factors = 2, rotation = "none", control = list(opt = list(factr = 1e2)))$loadings)
matrices <- list(harman8 = Harman8, box26 = box26, box20 = box20, tv = tv)
best <- function(A, method, args, oblique, normalize) {
  f <- if (oblique) GPFoblq else GPForth
  run <- function(T0, eps, maxit) tryCatch(suppressWarnings(f(A, Tmat = T0, normalize = normalize, eps = eps, maxit = maxit,
    method = method, methodArgs = args)), error = function(e) NULL)
  value <- function(r) if (is.null(r)) Inf else r$Table[nrow(r$Table), 2]
  runs <- lapply(1:100, function(i) run(if (i == 1) diag(ncol(A)) else Random.Start(ncol(A)), 1e-5, 1000))
  r <- runs[[which.min(sapply(runs, value))]]
  # the line search meets rounding error below gradients of about 1e-8: restarts keep it from creeping
  for (i in 1:40) { r <- run(r$Th, 1e-10, 300); if (r$convergence) break }
  list(loadings = unname(unclass(r$loadings)), correlation = if (oblique) unname(r$Phi) else diag(ncol(A)),
       criterion = value(r), gradient = 10^r$Table[nrow(r$Table), 3]) }
target <- function(A) { V <- unclass(Varimax(A)$loadings); round(V * (abs(V) > .5), 1) }   # a target near varimax
cases <- function(A) { k <- ncol(A); H <- unname(target(A)); W <- 1 * (H == 0); W[1, ] <- 1
  geo <- list(delta = .01); list(
  list("geomin", TRUE, FALSE, "geomin", geo), list("geomin", FALSE, FALSE, "geomin", geo),
  list("geomin", TRUE, TRUE, "geomin", geo), list("geomin", FALSE, TRUE, "geomin", geo),
  list("oblimin", TRUE, FALSE, "oblimin", list(gam = -.5)), list("oblimin", FALSE, FALSE, "oblimin", list(gam = .5)),
  list("quartimin", TRUE, FALSE, "quartimin", NULL), list("quartimin", TRUE, TRUE, "quartimin", NULL),
  list("varimax", FALSE, FALSE, "varimax", NULL), list("varimax", FALSE, TRUE, "varimax", NULL),
  list("target", TRUE, FALSE, "target", list(Target = H)), list("target", FALSE, FALSE, "target", list(Target = H)),
  list("target", TRUE, FALSE, "pst", list(W = W, Target = H)), list("target", FALSE, FALSE, "pst", list(W = W, Target = H))) }
out <- list()
for (name in names(matrices)) { A <- unname(as.matrix(matrices[[name]])); results <- list()
  for (case in cases(A)) {
    args <- case[[5]]; r <- best(A, case[[4]], args, case[[2]], case[[3]])
    results <- c(results, list(c(list(method = case[[1]], oblique = case[[2]], normalize = case[[3]],
      options = list(gamma = args$gam, epsilon = args$delta, target = args$Target, weights = args$W)), r))) }
  # stats::promax begins with a varimax of its own that stops early; begun at the end of one, it stays there.
  # The first is Kaiser-normalised as in R, the second repeats promax's own lines without normalisation.
  for (normalize in c(TRUE, FALSE)) for (power in c(4, 3)) {
    v <- best(A, "varimax", NULL, FALSE, normalize); V <- v$loadings
    if (normalize) { p <- promax(V, m = power); L <- unname(unclass(p$loadings)); U <- p$rotmat } else {
      U <- lm.fit(V, V * abs(V)^(power - 1))$coefficients; U <- U %*% diag(sqrt(diag(solve(t(U) %*% U)))); L <- V %*% U }
    results <- c(results, list(list(method = "promax", oblique = TRUE, normalize = normalize, options = list(power = power),
      loadings = unname(L), correlation = unname(solve(t(U) %*% U)), criterion = v$criterion, gradient = v$gradient))) }
  out[[name]] <- list(matrix = A, rotations = results) }
cat(toJSON(list(matrices = out, versions = list(R = R.version.string, GPArotation = as.character(packageVersion("GPArotation")))),
           digits = 14, auto_unbox = TRUE, null = "null", matrix = "rowmajor"))
